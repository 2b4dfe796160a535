// Targets that have no room or are late, and how many attempts are made in all when many
// requests fail, as the table of faults has it.

import { faultTests } from './lib/faultmatrix.mjs';
import { HEDGES } from './lib/faults/hedge.mjs';
import { PLACES, SHARES, TOLD } from './lib/faults/load.mjs';

faultTests('faults: upstreams that are late', HEDGES);
faultTests('faults: targets without room', PLACES);
faultTests('faults: many requests that fail', SHARES);
faultTests('faults: clients that try again', TOLD);

// When a target is left alone, when it is asked again, and clients that
// leave, as the table of faults has it.

import { faultTests } from './lib/faultmatrix.mjs';
import { BREAKERS, CLIENTS } from './lib/faults/breaker.mjs';

faultTests('faults: breakers', BREAKERS);
faultTests('faults: clients that leave', CLIENTS);

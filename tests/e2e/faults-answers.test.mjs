// Answers that are broken, and streams that end before they should, as the
// table of faults has it.

import { faultTests } from './lib/faultmatrix.mjs';
import { BODIES, STREAMS } from './lib/faults/answers.mjs';

faultTests('faults: answers that are broken', BODIES);
faultTests('faults: streams that end before they should', STREAMS);

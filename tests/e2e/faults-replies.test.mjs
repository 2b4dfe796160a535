// What providers answer when they refuse, limit, are overloaded and fail, as
// the table of faults has it.

import { faultTests } from './lib/faultmatrix.mjs';
import { CAPS, FAILURES, LIMITS, OVERLOADS, REFUSALS }
  from './lib/faults/replies.mjs';

faultTests('faults: limits of a provider', LIMITS);
faultTests('faults: spend caps of a provider', CAPS);
faultTests('faults: a provider that fails', FAILURES);
faultTests('faults: a provider that is overloaded', OVERLOADS);
faultTests('faults: refusals', REFUSALS);

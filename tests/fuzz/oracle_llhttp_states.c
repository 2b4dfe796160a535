/* oracle_llhttp_states.c - The state machine of oracle_llhttp.c. */
#include "llhttp.c"

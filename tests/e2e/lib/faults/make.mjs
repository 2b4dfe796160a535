// Writes the table of faults of the documentation, of what a run has seen.
//
//   node make.mjs DIR > doc/faults.md

import { docOf } from './doc.mjs';
import * as table from './table.mjs';

process.stdout.write(docOf(process.argv[2], table));

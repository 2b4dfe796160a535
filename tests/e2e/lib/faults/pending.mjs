// Rows of the table of faults that do not hold yet.

export const PENDING = new Set([]);

// Writes the few YAML shapes a config needs: maps, lists, quoted scalars.

const scalar = (v) => (typeof v === 'string' ? JSON.stringify(v) : String(v));

const isEmpty = (v) =>
  Array.isArray(v) ? v.length === 0 : Object.keys(v).length === 0;

function lines(value, indent) {
  const pad = ' '.repeat(indent);
  if (Array.isArray(value))
    return value.flatMap((v) => {
      if (v === null || typeof v !== 'object') return [`${pad}- ${scalar(v)}`];
      if (isEmpty(v)) return [`${pad}- ${Array.isArray(v) ? '[]' : '{}'}`];
      const inner = lines(v, indent + 2);
      return [`${pad}- ${inner[0].trimStart()}`, ...inner.slice(1)];
    });
  return Object.entries(value)
    .filter(([, v]) => v !== undefined)
    .flatMap(([k, v]) => {
      const key = /^[A-Za-z_][\w-]*$/.test(k) ? k : JSON.stringify(k);
      if (v === null || typeof v !== 'object')
        return [`${pad}${key}: ${scalar(v)}`];
      if (isEmpty(v)) return [`${pad}${key}: ${Array.isArray(v) ? '[]' : '{}'}`];
      return [`${pad}${key}:`, ...lines(v, indent + 2)];
    });
}

/** A config as YAML text. */
export const toYaml = (value) => `${lines(value, 0).join('\n')}\n`;

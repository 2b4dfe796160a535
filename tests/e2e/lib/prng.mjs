// Reproducible randomness: the same seed gives the same run.

/** A generator of numbers in [0, 1) (xorshift32). */
export function prng(seed) {
  let x = seed >>> 0 || 1;
  return () => {
    x ^= x << 13;
    x >>>= 0;
    x ^= x >>> 17;
    x ^= x << 5;
    x >>>= 0;
    return x / 2 ** 32;
  };
}

const WORDS = ['a', 'model', 'stream', 'caf\u00e9', '\u{1f600}', 'n', '', '"',
  '\\', '\n', 'stream_options', 'usage', 'messages'];
const NUMBERS = ['0', '-0', '1e2', '100.00', '9223372036854775808',
  '3.14159265358979323846', '1E-400', '-1.5e+3', '18446744073709551616'];

/** JSON text, valid, with odd blanks, numbers and escapes. */
export class JsonMaker {
  constructor(seed) {
    this.next = prng(seed);
  }

  int(n) {
    return Math.floor(this.next() * n);
  }

  pick(list) {
    return list[this.int(list.length)];
  }

  blank() {
    return this.pick(['', '', '', ' ', '\n', '\t', '\r\n', '  ']);
  }

  string() {
    let s = '"';
    for (let i = this.int(4); i > 0; i--)
      s += this.pick(['x', '\u00e9', '\\u00e9', '\\/', '/', '\\"', '\\\\',
        '\\ud83d\\ude00', '\\ud800', '\\u0000', '\u2028', '{', '}', '[', ':',
        '"model"'.replaceAll('"', '\\"')]);
    return `${s}"`;
  }

  value(depth) {
    const kind = this.int(depth > 0 ? 7 : 5);
    if (kind === 0) return this.string();
    if (kind === 1) return this.pick(NUMBERS);
    if (kind < 5) return this.pick(['true', 'false', 'null', '""', '{}', '[]']);
    const items = Array.from({ length: this.int(4) }, (_, i) =>
      kind === 5 ? this.value(depth - 1)
        : `"${i}${JSON.stringify(this.pick(WORDS)).slice(1, -1)}"` +
          `${this.blank()}:${this.blank()}${this.value(depth - 1)}`);
    const b = () => this.blank();
    const inner = items.map((x) => b() + x + b()).join(',');
    return kind === 5 ? `[${inner}]` : `{${inner}}`;
  }

  /** An object with these members (name to JSON text), among random ones. */
  object(members) {
    const all = Object.entries(members).map(([k, v]) => [k, v]);
    for (let i = this.int(5); i > 0; i--)
      all.splice(this.int(all.length + 1), 0, [`extra${i}`, this.value(3)]);
    const text = all.map(([k, v]) =>
      `${this.blank()}"${k}"${this.blank()}:${this.blank()}${v}${this.blank()}`);
    return `${this.blank()}{${text.join(',')}}${this.blank()}`;
  }
}

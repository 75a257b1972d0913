// MessagePack as "Values" in docs/protocol.md wants it: maps sorted by key, integers and lengths in their shortest form,
// floats as 64 bits. JavaScript has one type of numbers, so a float is said with `new Float(60)`; a number that is not
// whole is a float anyhow, and a BigInt is an integer.

/** A number that is a float, whatever its value. */
export class Float {
  constructor(value) {
    this.value = value
  }
}

/** The bytes of a value. */
export function pack(value) {
  const parts = []
  write(value, parts)
  return Buffer.concat(parts)
}

function write(value, parts) {
  if (value === null || value === undefined) parts.push(Buffer.of(0xc0))
  else if (typeof value === 'boolean') parts.push(Buffer.of(value ? 0xc3 : 0xc2))
  else if (value instanceof Float) parts.push(float(value.value))
  else if (typeof value === 'bigint') parts.push(integer(value))
  else if (typeof value === 'number') parts.push(Number.isInteger(value) ? integer(BigInt(value)) : float(value))
  else if (typeof value === 'string') {
    const text = Buffer.from(value, 'utf8')
    parts.push(head(text.length, [0xa0, 32], 0xd9, 0xda, 0xdb), text)
  } else if (value instanceof Uint8Array) {
    parts.push(head(value.length, null, 0xc4, 0xc5, 0xc6), value)
  } else if (Array.isArray(value)) {
    parts.push(head(value.length, [0x90, 16], null, 0xdc, 0xdd))
    for (const item of value) write(item, parts)
  } else {
    const keys = Object.keys(value).sort(byCodePoint)
    parts.push(head(keys.length, [0x80, 16], null, 0xde, 0xdf))
    for (const key of keys) {
      write(key, parts)
      write(value[key], parts)
    }
  }
}

/** The order of code points, which is that of UTF-8's bytes and not that of JavaScript's own `<`. */
export function byCodePoint(a, b) {
  return Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'))
}

function float(value) {
  const bytes = Buffer.alloc(9)
  bytes[0] = 0xcb
  bytes.writeDoubleBE(value, 1)
  return bytes
}

function integer(value) {
  if (value >= 0n) {
    if (value < 128n) return Buffer.of(Number(value))
    if (value < 1n << 8n) return Buffer.of(0xcc, Number(value))
    if (value < 1n << 16n) return tagged(0xcd, 2, (bytes) => bytes.writeUInt16BE(Number(value), 1))
    if (value < 1n << 32n) return tagged(0xce, 4, (bytes) => bytes.writeUInt32BE(Number(value), 1))
    return tagged(0xcf, 8, (bytes) => bytes.writeBigUInt64BE(value, 1))
  }
  if (value >= -32n) return Buffer.of(Number(value) & 0xff)
  if (value >= -(1n << 7n)) return tagged(0xd0, 1, (bytes) => bytes.writeInt8(Number(value), 1))
  if (value >= -(1n << 15n)) return tagged(0xd1, 2, (bytes) => bytes.writeInt16BE(Number(value), 1))
  if (value >= -(1n << 31n)) return tagged(0xd2, 4, (bytes) => bytes.writeInt32BE(Number(value), 1))
  return tagged(0xd3, 8, (bytes) => bytes.writeBigInt64BE(value, 1))
}

function tagged(tag, size, write) {
  const bytes = Buffer.alloc(1 + size)
  bytes[0] = tag
  write(bytes)
  return bytes
}

/** The head of a text, bytes, list or map of `length`: the short form if it has one, else 8, 16 or 32 bits. */
function head(length, short, tag8, tag16, tag32) {
  if (short && length < short[1]) return Buffer.of(short[0] | length)
  if (tag8 && length < 1 << 8) return Buffer.of(tag8, length)
  if (length < 1 << 16) return tagged(tag16, 2, (bytes) => bytes.writeUInt16BE(length, 1))
  return tagged(tag32, 4, (bytes) => bytes.writeUInt32BE(length, 1))
}

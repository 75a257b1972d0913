// The packets between peers, byte for byte as in docs/protocol.md.

const MAGIC = 0xb7
const VERSION = 1
export const MAX_PACKET = 1200
const HEAD = 7
const INPUT_HEAD = 48
const NO_ECHO = 65535

export const BYE = { finished: 0, left: 1, desync: 2, timeout: 3, error: 4, dropped: 5 }

function begin(size, type, episode) {
  const bytes = Buffer.alloc(size)
  bytes[0] = MAGIC
  bytes[1] = VERSION
  bytes[2] = type
  bytes.writeUInt32LE(episode, 3)
  return bytes
}

/** The bytes of a packet `{type: 'hello' | 'input' | 'end' | 'end-ack' | 'bye', ...}`. */
export function encode(packet) {
  const { episode } = packet
  switch (packet.type) {
    case 'hello': {
      const bytes = begin(8, 1, episode)
      bytes[7] = packet.heard ? 1 : 0
      return bytes
    }
    case 'input':
      return encodeInput(packet)
    case 'end': {
      const bytes = begin(43, 3, episode)
      bytes.writeUInt32LE(packet.frames, 7)
      packet.digest.copy(bytes, 11)
      return bytes
    }
    case 'end-ack': {
      const bytes = begin(11, 4, episode)
      bytes.writeUInt32LE(packet.frames, 7)
      return bytes
    }
    case 'bye': {
      const bytes = begin(8, 5, episode)
      bytes[7] = packet.reason
      return bytes
    }
    default:
      throw new Error(`packet type ${packet.type}`)
  }
}

function encodeInput(packet) {
  const { inputs, known, gone } = packet
  const width = inputs.length ? inputs[0].length : 0
  const at = INPUT_HEAD + 5 * known.length
  const bytes = begin(at + width * inputs.length, 2, packet.episode)
  bytes.writeUInt32LE(packet.start, 7)
  bytes.writeUInt16LE(inputs.length, 11)
  bytes.writeUInt16LE(width, 13)
  bytes.writeInt32LE(packet.current, 15)
  bytes.writeInt16LE(packet.advantage, 19)
  bytes.writeUInt32LE(packet.sent, 21)
  bytes.writeUInt32LE(packet.echo, 25)
  bytes.writeUInt16LE(packet.echoAge, 29)
  bytes.writeInt32LE(packet.checksumFrame, 31)
  bytes.writeBigUInt64LE(packet.checksum, 35)
  bytes.writeUInt16LE(packet.sequence, 43)
  bytes[45] = packet.loss
  bytes[46] = 0 // this peer never fills in an input
  bytes[47] = known.length
  known.forEach((frame, player) => {
    bytes.writeInt32LE(frame, 48 + 5 * player)
    bytes[52 + 5 * player] = gone[player] ? 1 : 0
  })
  inputs.forEach((input, index) => bytes.set(input, at + width * index))
  return bytes
}

/** How many inputs of `width` bytes fit into one packet among `players`. */
export function inputsThatFit(players, width) {
  return Math.floor((MAX_PACKET - INPUT_HEAD - 5 * players) / width)
}

/** The packet in some bytes, or null for anything that does not decode exactly. */
export function decode(bytes) {
  if (bytes.length < HEAD || bytes.length > MAX_PACKET || bytes[0] !== MAGIC || bytes[1] !== VERSION) return null
  const episode = bytes.readUInt32LE(3)
  switch (bytes[2]) {
    case 1:
      return bytes.length === 8 && bytes[7] <= 1 ? { type: 'hello', episode, heard: bytes[7] === 1 } : null
    case 2:
      return decodeInput(bytes, episode)
    case 3:
      if (bytes.length !== 43) return null
      return { type: 'end', episode, frames: bytes.readUInt32LE(7), digest: Buffer.from(bytes.subarray(11, 43)) }
    case 4:
      return bytes.length === 11 ? { type: 'end-ack', episode, frames: bytes.readUInt32LE(7) } : null
    case 5:
      return bytes.length === 8 && bytes[7] <= 5 ? { type: 'bye', episode, reason: bytes[7] } : null
    default:
      return null // a forward is for three and more players
  }
}

function decodeInput(bytes, episode) {
  if (bytes.length < INPUT_HEAD) return null
  const count = bytes.readUInt16LE(11)
  const width = bytes.readUInt16LE(13)
  const idle = bytes[46]
  const players = bytes[47]
  const bitmapAt = INPUT_HEAD + 5 * players
  const at = bitmapAt + (idle ? Math.ceil(count / 8) : 0)
  if (players > 16 || idle > 1 || (count === 0) !== (width === 0) || bytes.length !== at + count * width) return null
  const known = []
  const gone = []
  for (let player = 0; player < players; player++) {
    known.push(bytes.readInt32LE(48 + 5 * player))
    gone.push(bytes[52 + 5 * player])
  }
  const packet = {
    type: 'input',
    episode,
    start: bytes.readUInt32LE(7),
    inputs: Array.from({ length: count }, (_, i) => Buffer.from(bytes.subarray(at + i * width, at + (i + 1) * width))),
    idle: Array.from({ length: count }, (_, i) => (idle ? (bytes[bitmapAt + (i >> 3)] >> (i & 7)) & 1 : 0)),
    current: bytes.readInt32LE(15),
    advantage: bytes.readInt16LE(19),
    sent: bytes.readUInt32LE(21),
    echo: bytes.readUInt32LE(25),
    echoAge: bytes.readUInt16LE(29),
    checksumFrame: bytes.readInt32LE(31),
    checksum: bytes.readBigUInt64LE(35),
    sequence: bytes.readUInt16LE(43),
    loss: bytes[45],
    known,
    gone: gone.map((flag) => flag === 1),
  }
  if (packet.current < 0 || packet.checksumFrame < -1 || known.some((frame) => frame < -1)) return null
  return gone.some((flag) => flag > 1) ? null : packet
}

/** A packet's clock: tenths of a millisecond, modulo 2^32. */
export function timestamp(now) {
  return Math.floor(now * 10_000) % 2 ** 32
}

/** How long ago the newest packet came, for `echoAge`. */
export function age(now, heardAt) {
  return heardAt === null ? NO_ECHO : Math.min(Math.floor((now - heardAt) * 10_000), NO_ECHO - 1)
}

/** Seconds from a packet's echo, or null if it has none that says anything. */
export function roundTrip(now, packet) {
  if (packet.echoAge >= NO_ECHO - 1) return null
  const ticks = (((timestamp(now) - packet.echo - packet.echoAge) % 2 ** 32) + 2 ** 32) % 2 ** 32
  return ticks < 600_000 ? ticks / 10_000 : null
}

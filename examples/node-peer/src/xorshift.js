// The random generator of drift and Pong (docs/games/drift.md).

const MASK = (1n << 64n) - 1n

/** Its state at the start of an episode. */
export function startRng(seed) {
  if (seed === 0) return 0x9e3779b9
  let z = (BigInt(seed) + 0x9e3779b97f4a7c15n) & MASK
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK
  z ^= z >> 31n
  return Number((z ^ (z >> 32n)) & 0xffffffffn) || 0x9e3779b9
}

/** One step of xorshift32. */
export function xorshift32(rng) {
  rng ^= rng << 13
  rng ^= rng >>> 17
  rng ^= rng << 5
  return rng >>> 0
}

/** The action 0..15 of drift's reference workload. */
export function workload(player, frame) {
  let r = Math.imul(frame, 2654435761) ^ Math.imul(player, 0x85ebca6b) ^ 0xc0ffee
  r ^= r >>> 15
  r = Math.imul(r, 0x2c1b3c6d)
  r ^= r >>> 12
  return r & 15
}

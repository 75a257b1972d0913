// The three hashes of the protocol. Call `ready()` once; after that they are plain functions of bytes.

import { createBLAKE2b, createBLAKE3, createXXHash3 } from 'hash-wasm'

let blake2b, xxh3, blake3

export async function ready() {
  ;[blake2b, xxh3, blake3] = await Promise.all([createBLAKE2b(64), createXXHash3(), createBLAKE3()])
}

/** XXH3 with 64 bits, seed 0, as a BigInt. */
export function stateDigest(bytes) {
  return BigInt('0x' + xxh3.init().update(bytes).digest('hex'))
}

/** BLAKE3 over parts, each behind its length as u64: 32 bytes. */
export function contentHash(parts) {
  blake3.init()
  const length = Buffer.alloc(8)
  for (const part of parts) {
    length.writeBigUInt64LE(BigInt(part.length))
    blake3.update(length).update(part)
  }
  return Buffer.from(blake3.digest('binary'))
}

/** The seed of an episode: the first 8 bytes of BLAKE2b with an 8-byte digest, modulo 2^31. */
export function episodeSeed(matchSeed, episode) {
  const text = Buffer.from(`rollgym/episode-seed/${matchSeed}/${episode}`, 'ascii')
  const digest = Buffer.from(blake2b.init().update(text).digest('binary'))
  return Number(digest.readBigUInt64LE() % (1n << 31n))
}

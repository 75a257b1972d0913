// Holds this peer against examples/recorded-match.json: the same packets at the same times, the same decisions.
// `npm run recorded`

import { readFileSync } from 'node:fs'
import assert from 'node:assert/strict'
import { drift } from './src/drift.js'
import { ready } from './src/hashes.js'
import { decode, encode } from './src/packets.js'
import { Peer } from './src/peer.js'

const recorded = JSON.parse(readFileSync(new URL('../recorded-match.json', import.meta.url)))
await ready()

assert.deepEqual(JSON.parse(JSON.stringify(drift.identity)), recorded.game, 'the identity of drift')

// Packets: what was sent and received is decoded and put together again.
for (const [, kind, , hex] of recorded.log) {
  if (kind === 'poll') continue
  const packet = decode(Buffer.from(hex, 'hex'))
  assert.notEqual(packet, null, hex)
  if (packet.type !== 'input' || !packet.idle.includes(1)) {
    assert.equal(encode(packet).toString('hex'), hex)
  }
}

// Play: the peer is given what its model was given.
let episode = -1
const policy = {
  reset: () => (episode += 1),
  act: (_, frame) => recorded.decisions[episode][frame],
}
const peer = new Peer({
  start: recorded.match_start,
  game: drift,
  policy,
  policyInfo: { name: 'decided' },
  software: {},
  now: 0,
  wall: recorded.wall,
})
const exports = []
for (const [now, kind, , hex] of recorded.log) {
  if (kind === 'in') peer.receive(Buffer.from(hex, 'hex'), now)
  if (kind === 'poll') peer.poll(now)
  exports.push(...peer.takeExports())
}
assert.equal(peer.refused, 0, 'packets that this peer refused')
assert.equal(exports.length, recorded.exports.length, 'episodes')
exports.forEach((mine, index) => {
  const theirs = recorded.exports[index]
  assert.equal(mine.frames, theirs.frames)
  assert.equal(mine.status, theirs.status)
  const states = mine.states.map((digest) => digest.toString(16).padStart(16, '0'))
  assert.deepEqual(states, theirs.state_digests)
  assert.equal(mine.digest.toString('hex'), theirs.digest)
  assert.ok(mine.rollbacks > 0, 'no rollbacks: nothing was shown')
  assert.equal(mine.rollbacks, theirs.rollbacks)
  console.log(`episode ${index}: ${mine.frames} frames, ${mine.rollbacks} rollbacks, digest as recorded`)
})

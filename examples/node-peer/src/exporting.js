// The export of an episode: what a peer uploads, as in docs/protocol.md, and its content digest.

import { contentHash } from './hashes.js'
import { Float, byCodePoint, pack } from './values.js'

const FLOATS = ['fps', 'disconnect_timeout', 'start_timeout', 'away_limit']

/** An export as `{header, digest, body}`. `own` says how it came about: see `ownPart`. */
export function makeExport({ start, game, episode, seed, session, status, own }) {
  const frames = session.canonical
  const settings = { ...start.settings }
  for (const name of FLOATS) settings[name] = new Float(settings[name])
  const header = {
    match: start.match,
    episode,
    match_seed: start.seed,
    seed,
    game: game.identity,
    settings,
    participants: start.participants,
    frames,
    status,
    schema: 1,
  }
  const columns = canonicalColumns(game, session, frames)
  const infos = infosOf(session, frames)
  const digest = contentDigest(header, columns, infos)
  const body = pack({ header, canonical: { columns, infos }, own: ownPart(start.player, session, frames, own), digest })
  return { episode, frames, status, digest, body, states: session.record.map((row) => row.digest) }
}

function column(dtype, shape, values) {
  const width = Number(dtype[2])
  const data = Buffer.alloc(values.length * width)
  const write = {
    '|b1': (value, at) => data.writeUInt8(value ? 1 : 0, at),
    '|u1': (value, at) => data.writeUInt8(value, at),
    '<u4': (value, at) => data.writeUInt32LE(value, at),
    '<i4': (value, at) => data.writeInt32LE(value, at),
    '<u8': (value, at) => data.writeBigUInt64LE(value, at),
    '<f8': (value, at) => data.writeDoubleLE(value, at),
  }[dtype]
  values.forEach((value, index) => write(value, index * width))
  return { dtype, shape, data }
}

function canonicalColumns(game, session, frames) {
  const steps = session.record.slice(1)
  const columns = {
    frame: column('<u4', [frames], steps.map((_, frame) => frame)),
    rewards: column('<f8', [frames, 2], steps.flatMap((row) => row.outcome.rewards)),
    terminations: column('|b1', [frames, 2], steps.flatMap((row) => row.outcome.terminated)),
    truncations: column('|b1', [frames, 2], steps.flatMap((row) => row.outcome.truncated)),
    input_source: column('|u1', [frames, 2], steps.flatMap((row) => row.source)),
    state_digest: column('<u8', [frames + 1], session.record.map((row) => row.digest)),
  }
  game.identity.agents.forEach((agent, player) => {
    columns[`actions/${agent}`] = column('|u1', [frames, 1], steps.map((row) => row.actions[player]))
    for (const leaf of game.leaves) {
      const values = session.record.map((row) => row.observations[player][leaf])
      columns[`observations/${agent}/${leaf}`] = column('<i4', [frames + 1, values[0].length], values.flat())
    }
  })
  return columns
}

/** `[row, agent, key, value]`, ascending. Neither game has anything to say at `reset`. */
function infosOf(session, frames) {
  const infos = []
  for (let row = 1; row <= frames; row++) {
    session.record[row].outcome.infos.forEach((info, agent) => {
      for (const key of Object.keys(info).sort(byCodePoint)) infos.push([row, agent, key, pack(info[key])])
    })
  }
  return infos
}

function contentDigest(header, columns, infos) {
  const parts = [pack(header)]
  for (const name of Object.keys(columns).sort(byCodePoint)) {
    const { dtype, shape, data } = columns[name]
    parts.push(Buffer.from(name), Buffer.from(dtype), Buffer.from(shape.join(',')), data)
  }
  for (const info of infos) parts.push(pack(info))
  return contentHash(parts)
}

function ownPart(player, session, frames, { policy, software, startedAt, endedAt }) {
  const rows = session.rows.slice(0, frames)
  const of = (dtype, field) => column(dtype, [frames], rows.map((row) => row[field]))
  return {
    player,
    columns: {
      was_speculative: of('|b1', 'speculative'),
      mispredicted: of('|b1', 'mispredicted'),
      times_simulated: of('<u4', 'simulated'),
      rollbacks: of('<u4', 'rollbacks'),
      time: of('<f8', 'time'),
      rtt: of('<f8', 'rtt'),
      frame_advantage: of('<f8', 'advantage'),
    },
    rollbacks: session.rollbacks.map((one) => ({ ...one, time: new Float(one.time) })),
    tail: null,
    stats: { rollbacks: session.rollbacks.length, stalls: session.stalls },
    policy,
    software,
    started_at: new Float(startedAt),
    ended_at: new Float(endedAt),
  }
}

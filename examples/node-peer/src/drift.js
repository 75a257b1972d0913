// Drift, from docs/games/drift.md. A state is never changed: `step` gives a new one, so saving it is keeping it.

import { startRng, xorshift32 } from './xorshift.js'

const box = (size, low, high) => ({ type: 'Box', shape: [size], dtype: 'int32', low, high })
const COUNT = 2147483647
const OBSERVATION = {
  type: 'Dict',
  spaces: {
    hits: box(1, 0, COUNT),
    other_position: box(2, 0, 1023),
    other_velocity: box(2, -8, 8),
    position: box(2, 0, 1023),
    scores: box(2, 0, COUNT),
    velocity: box(2, -8, 8),
  },
}
const ACTION = { type: 'Discrete', n: 16, start: 0, dtype: 'int64' }

export const drift = {
  identity: {
    id: 'drift',
    version: '1',
    parameters: { max_frames: null },
    agents: ['player_0', 'player_1'],
    action_spaces: [ACTION, ACTION],
    observation_spaces: [OBSERVATION, OBSERVATION],
  },
  actions: 16,
  leaves: Object.keys(OBSERVATION.spaces),

  reset(seed) {
    const body = (x) => ({ x, y: 512, vx: 0, vy: 0, score: 0 })
    return { frame: 0, rng: startRng(seed), hits: 0, bodies: [body(256), body(768)] }
  },

  step(state, actions) {
    const bodies = state.bodies.map((body, player) => {
      const bits = actions[player]
      const [x, vx] = axis(body.x, body.vx, ((bits >> 1) & 1) - (bits & 1))
      const [y, vy] = axis(body.y, body.vy, ((bits >> 3) & 1) - ((bits >> 2) & 1))
      return { x, y, vx, vy, score: body.score }
    })
    const rng = xorshift32(state.rng)
    const rewards = [0, 0]
    const infos = [{}, {}]
    if ((rng & 31) === 0) {
      const scorer = (rng >>> 8) & 1
      bodies[scorer].score += 1
      rewards[scorer] += 1
      infos[scorer].scored = 1
    }
    const [a, b] = bodies
    const hit = (a.x - b.x) ** 2 + (a.y - b.y) ** 2 < 1024
    if (hit) {
      for (const player of [0, 1]) {
        rewards[player] += 0.25
        infos[player].hit = 1
      }
    }
    return {
      state: { frame: state.frame + 1, rng, hits: state.hits + (hit ? 1 : 0), bodies },
      rewards,
      terminated: [false, false],
      truncated: [false, false],
      infos,
    }
  },

  stateBytes(state) {
    const bytes = Buffer.alloc(52)
    bytes.writeUInt32LE(state.frame, 0)
    bytes.writeUInt32LE(state.rng, 4)
    bytes.writeUInt32LE(state.hits, 8)
    state.bodies.forEach((body, player) => {
      const values = [body.x, body.y, body.vx, body.vy, body.score]
      values.forEach((value, index) => bytes.writeInt32LE(value, 12 + 20 * player + 4 * index))
    })
    return bytes
  },

  observe(state, player) {
    const own = state.bodies[player]
    const other = state.bodies[1 - player]
    return {
      hits: [state.hits],
      other_position: [other.x, other.y],
      other_velocity: [other.vx, other.vy],
      position: [own.x, own.y],
      scores: [own.score, other.score],
      velocity: [own.vx, own.vy],
    }
  },
}

function axis(place, speed, push) {
  let v = Math.max(-8, Math.min(8, speed + push))
  if (push === 0) v -= Math.sign(v)
  const next = place + v
  if (next < 0) return [-next, -v]
  if (next > 1023) return [2046 - next, -v]
  return [next, v]
}

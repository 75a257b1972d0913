// Pong with its default parameters, from docs/games/pong.md. A state is never changed: `step` gives a new one.

import { startRng, xorshift32 } from './xorshift.js'

const P = {
  points: 5,
  max_frames: null,
  paddle_height: 128,
  paddle_speed: 10,
  ball_size: 24,
  ball_speed: 11,
  max_ball_speed: 26,
  serve_delay: 40,
}
const HALF = P.paddle_height >> 1
const RADIUS = P.ball_size >> 1
const NEAR = 48 + RADIUS

const box = (size, low, high) => ({ type: 'Box', shape: [size], dtype: 'int32', low, high })
const OBSERVATION = {
  type: 'Dict',
  spaces: {
    ball_position: box(2, [-38, 0], [1062, 768]),
    ball_velocity: box(2, -30, 30),
    other_paddle: box(1, 64, 704),
    paddle: box(1, 64, 704),
    rally: box(1, 0, 2147483647),
    scores: box(2, 0, P.points),
    serve_in: box(1, 0, P.serve_delay),
  },
}
const ACTION = { type: 'Discrete', n: 3, start: 0, dtype: 'int64' }
const MOVE = [0, -1, 1]

export const pong = {
  identity: {
    id: 'pong',
    version: '1',
    parameters: P,
    agents: ['left', 'right'],
    action_spaces: [ACTION, ACTION],
    observation_spaces: [OBSERVATION, OBSERVATION],
  },
  actions: 3,
  leaves: Object.keys(OBSERVATION.spaces),

  reset(seed) {
    const ball = { x: 512, y: 384, vx: 0, vy: 0 }
    return { frame: 0, rng: startRng(seed), ...ball, paddles: [384, 384], scores: [0, 0], rally: 0, serve: P.serve_delay }
  },

  step(before, actions) {
    const s = { ...before, frame: before.frame + 1, scores: [...before.scores] }
    const rewards = [0, 0]
    const infos = [{}, {}]
    let over = false
    s.paddles = before.paddles.map((y, player) =>
      Math.max(HALF, Math.min(768 - HALF, y + MOVE[actions[player]] * P.paddle_speed)),
    )
    if (s.serve) {
      s.serve -= 1
      if (!s.serve) serve(s)
    } else {
      s.x += s.vx
      s.y += s.vy
      if (s.y < RADIUS) {
        s.y = 2 * RADIUS - s.y
        s.vy = -s.vy
      } else if (s.y > 768 - RADIUS) {
        s.y = 2 * (768 - RADIUS) - s.y
        s.vy = -s.vy
      }
      const meets = (player) => Math.abs(s.y - s.paddles[player]) <= HALF + RADIUS
      let scorer = null
      if (s.x <= NEAR) {
        if (before.x > NEAR && meets(0)) {
          hit(s, 0, actions[0])
          s.x = 2 * NEAR - s.x
          infos[0].hit = 1
        } else if (s.x < -RADIUS) scorer = 1
      } else if (s.x >= 1024 - NEAR) {
        if (before.x < 1024 - NEAR && meets(1)) {
          hit(s, 1, actions[1])
          s.x = 2 * (1024 - NEAR) - s.x
          infos[1].hit = 1
        } else if (s.x > 1024 + RADIUS) scorer = 0
      }
      if (scorer !== null) {
        s.scores[scorer] += 1
        over = s.scores[scorer] >= P.points
        rewards[scorer] = 1
        rewards[1 - scorer] = -1
        for (const info of infos) Object.assign(info, { point: scorer, rally: s.rally })
        Object.assign(s, { x: 512, y: 384, vx: 0, vy: 0, rally: 0, serve: over ? 0 : P.serve_delay })
      }
    }
    return { state: s, rewards, terminated: [over, over], truncated: [false, false], infos }
  },

  stateBytes(s) {
    const bytes = Buffer.alloc(48)
    bytes.writeUInt32LE(s.frame, 0)
    bytes.writeUInt32LE(s.rng, 4)
    const values = [s.x, s.y, s.vx, s.vy, ...s.paddles, ...s.scores, s.rally, s.serve]
    values.forEach((value, index) => bytes.writeInt32LE(value, 8 + 4 * index))
    return bytes
  },

  observe(s, player) {
    return {
      ball_position: [player ? 1024 - s.x : s.x, s.y],
      ball_velocity: [player ? -s.vx : s.vx, s.vy],
      other_paddle: [s.paddles[1 - player]],
      paddle: [s.paddles[player]],
      rally: [s.rally],
      scores: [s.scores[player], s.scores[1 - player]],
      serve_in: [s.serve],
    }
  },
}

function serve(s) {
  s.rng = xorshift32(s.rng)
  const steepest = Math.floor((P.ball_speed * 3) / 4)
  s.vx = s.rng & 64 ? P.ball_speed : -P.ball_speed
  s.vy = ((s.rng >>> 8) % (2 * steepest + 1)) - steepest
}

function hit(s, player, action) {
  s.rally += 1
  const speed = Math.min(P.ball_speed + s.rally, P.max_ball_speed)
  s.vx = player === 0 ? speed : -speed
  s.rng = xorshift32(s.rng)
  const offset = s.y - s.paddles[player]
  s.vy = Math.trunc((offset * speed) / (HALF + RADIUS)) + 2 * MOVE[action] + ((s.rng >>> 8) % 5) - 2
}

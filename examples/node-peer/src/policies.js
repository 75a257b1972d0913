// Who plays. A policy has `reset(seed)` and `act(observation, frame)`; `seed` makes it repeatable.

import { startRng, xorshift32 } from './xorshift.js'

/** Holds a random action for some frames, so that predictions fail now and then. */
export function randomHold(game, seed, hold = 4) {
  let rng = 0
  let action = 0
  return {
    reset(episodeSeed) {
      rng = startRng(seed + episodeSeed)
    },
    act(_, frame) {
      if (frame % hold === 0) {
        rng = xorshift32(rng)
        action = (rng >>> 8) % game.actions
      }
      return action
    },
  }
}

/** Pong: goes where the ball is. */
export function follow() {
  return {
    reset() {},
    act({ ball_position: [, y], paddle: [own] }) {
      return Math.abs(y - own) < 20 ? 0 : y < own ? 1 : 2
    },
  }
}

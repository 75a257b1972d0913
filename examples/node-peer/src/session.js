// One episode of two players under rollback: simulate with what is known and guess the rest; when an input turns out other
// than guessed, go back to that frame and simulate again. Only frames that cannot change any more are recorded.

import { stateDigest } from './hashes.js'

export const READY = 'ready'
export const STALLED = 'stalled'
export const TERMINAL = 'terminal'
export const OVER = 'over'

export class Session {
  constructor(game, seed, player, settings) {
    this.game = game
    this.player = player
    this.other = 1 - player
    this.settings = settings
    this.current = 0 // the frame to be simulated next
    this.canonical = 0 // all frames below this are facts
    this.inputs = [[], []] // per player: one number for each frame from 0 on
    this.idle = [new Set(), new Set()]
    this.states = [game.reset(seed)] // states[f] is the state before frame f; older ones than the canonical are dropped
    this.rows = [] // per frame: what it was last simulated with, and what came of it
    this.terminal = null // the newest frame, if it ended the episode (perhaps only speculatively)
    this.wrong = null // the lowest frame that was simulated with a wrong guess
    this.rollbacks = []
    this.stalls = 0
    this.digests = new Map() // confirmed states that peers compare: frame -> digest
    this.newestChecksum = [-1, 0n]
    this.record = [{ ...this.#row(0, this.states[0]), source: null }]
  }

  /** The last frame up to which every input of a player is known. */
  known(player) {
    return this.inputs[player].length - 1
  }

  /** Take in the other player's inputs from frame `start` on. Returns false for what makes no sense. */
  addInputs(start, inputs, idle) {
    const mine = this.inputs[this.other]
    if (start > mine.length) return false
    if (inputs.some((input) => input.length !== 1 || input[0] >= this.game.actions)) return false
    if (inputs.some((input, i) => idle[i] && input[0] !== 0)) return false
    if (inputs.some((input, i) => start + i < mine.length && mine[start + i] !== input[0])) return false
    inputs.forEach((input, i) => {
      const frame = start + i
      if (frame < mine.length) return
      mine.push(input[0])
      if (idle[i]) this.idle[this.other].add(frame)
      if (frame < this.current && this.rows[frame].actions[this.other] !== input[0]) {
        this.rows[frame].mispredicted = true
        if (this.wrong === null || frame < this.wrong) this.wrong = frame
      }
    })
    return true
  }

  /** Act on what has arrived; what can be done next. */
  settle(time) {
    if (this.wrong !== null) this.#rollBack(time)
    const confirmed = Math.min(this.known(0), this.known(1), this.current - 1)
    while (this.canonical <= confirmed) this.#promote(this.canonical)
    if (this.terminal !== null) return this.canonical > this.terminal ? OVER : TERMINAL
    return this.current - this.known(this.other) <= this.settings.max_prediction ? READY : STALLED
  }

  /** Whether the local player has not decided yet at the present frame. */
  get undecided() {
    return this.inputs[this.player].length <= this.current + this.settings.input_delay
  }

  /** The local player's decision at the present frame. Frames before the first decided one have the default input, 0. */
  decide(action) {
    const mine = this.inputs[this.player]
    while (mine.length < this.current + this.settings.input_delay) mine.push(0)
    mine.push(action)
  }

  /** Simulate the present frame. `timing` is what the record says of its first simulation. */
  step(timing) {
    this.rows[this.current] ??= { simulated: 0, rollbacks: 0, speculative: false, mispredicted: false, ...timing }
    this.#simulate()
  }

  #simulate() {
    const frame = this.current
    const row = this.rows[frame]
    const known = Math.min(this.known(0), this.known(1))
    const actions = [0, 1].map((player) => this.#input(player, frame))
    if (row.actions && (row.actions[0] !== actions[0] || row.actions[1] !== actions[1])) row.mispredicted = true
    row.actions = actions
    row.simulated += 1
    if (frame > known) row.speculative = true
    row.outcome = this.#limited(this.game.step(this.states[frame], actions), frame + 1)
    this.states[frame + 1] = row.outcome.state
    this.current = frame + 1
    this.terminal = row.outcome.terminal ? frame : null
  }

  /** The input that is known, or the newest one again. */
  #input(player, frame) {
    const known = this.inputs[player]
    return frame < known.length ? known[frame] : known.length ? known[known.length - 1] : 0
  }

  /** The match's own limit: everybody is truncated at that many frames. */
  #limited(outcome, frames) {
    const limit = this.settings.frame_limit
    const over = outcome.terminated.every((one, agent) => one || outcome.truncated[agent])
    if (over || limit === null || frames < limit) return { ...outcome, terminal: over }
    return { ...outcome, truncated: outcome.terminated.map((one) => !one), terminal: true }
  }

  #rollBack(time) {
    const target = this.wrong
    const end = this.current
    this.rollbacks.push({
      at_frame: end,
      to_frame: target,
      depth: end - target,
      player: this.other,
      predicted: Buffer.of(this.rows[target].actions[this.other]),
      actual: Buffer.of(this.inputs[this.other][target]),
      time,
    })
    for (let frame = target; frame < end; frame++) this.rows[frame].rollbacks += 1
    this.wrong = null
    this.terminal = null
    this.current = target
    while (this.current < end && this.terminal === null) this.#simulate()
  }

  #promote(frame) {
    const { actions, outcome } = this.rows[frame]
    const after = frame + 1
    const entry = this.#row(after, this.states[after])
    entry.source = [0, 1].map((player) => (this.idle[player].has(frame) ? 1 : 0))
    this.record.push({ ...entry, actions, outcome })
    if (after % this.settings.checksum_interval === 0) {
      this.newestChecksum = [after, entry.digest]
      this.digests.set(after, entry.digest)
      this.digests.delete(after - 64 * this.settings.checksum_interval)
    }
    this.states[frame] = null
    this.canonical = after
  }

  /** What the record holds of the state before frame `frame`. */
  #row(frame, state) {
    let digest = 0n
    if (frame % this.settings.save_every === 0) {
      const bytes = this.game.stateBytes(state)
      const counter = Buffer.alloc(this.settings.frame_limit === null ? 0 : 8)
      if (counter.length) counter.writeBigUInt64LE(BigInt(frame))
      digest = stateDigest(Buffer.concat([counter, bytes]))
    }
    return { digest, observations: [0, 1].map((player) => this.game.observe(state, player)) }
  }
}

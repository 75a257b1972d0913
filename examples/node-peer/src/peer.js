// The peer: a state machine without I/O and without a clock. Packets and the time come in; packets and exports go out.
// It plays matches of two. Phases: meeting, then for each episode playing and ending, then leaving, done.

import { makeExport } from './exporting.js'
import { episodeSeed } from './hashes.js'
import { BYE, age, decode, encode, inputsThatFit, roundTrip, timestamp } from './packets.js'
import { OVER, READY, STALLED, Session } from './session.js'

const HELLO_INTERVAL = 0.1
const END_INTERVAL = 0.05
const LEAVE_GRACE = 0.5
const LINGER = 1.5
const CLOCK_DEBT = 4 // frames of lateness that are made up for
const CATCH_UP_AFTER = 4
const CATCH_UP_BATCH = 32

export class Peer {
  /**
   * `start` is `match_start`; `game` one of drift and pong; `policy` has `reset(seed)` and `act(observation, frame)`. `now` is
   * monotonic seconds, `wall` Unix seconds at the same moment.
   */
  constructor({ start, game, policy, policyInfo, software, now, wall }) {
    if (start.participants.length !== 2) throw new Error('this peer plays matches of two')
    this.start = start
    this.game = game
    this.player = start.player
    this.other = 1 - start.player
    this.phase = 'meeting'
    this.refused = 0
    this.exports = []
    this.episode = 0
    this.session = null
    this.rtt = NaN
    this.reason = null
    this.#policy = policy
    this.#described = { policy: policyInfo, software }
    this.#epoch = wall - now
    this.#period = 1 / start.settings.fps
    this.#nextTick = now
    this.#deadline = now + start.settings.start_timeout
    this.#lastHeard = now
    this.#progressAt = now
  }

  #policy
  #described
  #epoch
  #period
  #nextTick
  #deadline
  #lastHeard
  #progressAt // when the other last brought the episode on
  #waitingSince = 0 // since when nothing could be done but wait
  #began = 0
  #met = false
  #saidBye = false
  #leaves = null // {at, status}: when the other counts as gone
  #out = []
  // What belongs to one episode, and to one direction of the connection.
  #link = null
  #sent = 0
  #echo = { value: 0, at: null }

  get done() {
    return this.phase === 'done'
  }

  /** When `poll` is next due. */
  nextWakeup(now) {
    if (this.done) return Infinity
    if (this.phase === 'meeting' && this.#met) return now
    return this.phase === 'playing' && this.#behind() ? now : this.#nextTick
  }

  /** Exports since the last call. */
  takeExports() {
    return this.exports.splice(0)
  }

  /** The server says that the other player has left. */
  playerLeft(now) {
    this.#suspect('partner_left', now + LEAVE_GRACE)
  }

  /** End the match here: the canonical prefix is exported, the partner is told. */
  stop(now) {
    if (this.phase === 'playing') this.#finish('aborted', 'left', now)
    else if (this.phase === 'meeting' || this.phase === 'ending') this.#leave('left', now)
  }

  /** The relay is closed for good: nothing can be said or heard any more. */
  lineClosed(now) {
    this.stop(now)
    this.phase = 'done'
  }

  // -- what arrives

  receive(bytes, now) {
    if (this.done) return
    const packet = decode(bytes)
    if (packet === null) {
      this.refused += 1
      return
    }
    this.#lastHeard = now
    this.#met = true
    const here = packet.episode === this.episode
    if (packet.type === 'input') this.#hearInput(packet, now)
    else if (packet.type === 'end') {
      if (here && this.#inEpisode()) this.#link.end = packet
      else this.#hearOfNext(packet.episode)
    } else if (packet.type === 'end-ack' && here && this.#link) this.#link.endAcked = true
    else if (packet.type === 'bye') this.#hearBye(packet, now)
  }

  #inEpisode() {
    return this.phase === 'playing' || this.phase === 'ending'
  }

  #hearInput(packet, now) {
    if (packet.episode !== this.episode || !this.#inEpisode()) {
      this.#hearOfNext(packet.episode)
      return
    }
    const session = this.session
    const acked = packet.known[this.player]
    const before = session.known(this.other)
    if (packet.known.length !== 2 || acked > session.known(this.player)) this.refused += 1
    else if (!session.addInputs(packet.start, packet.inputs, packet.idle)) this.refused += 1
    else {
      const link = this.#link
      if (session.known(this.other) > before || packet.current > link.current) this.#progressAt = now
      link.acked = Math.max(link.acked, acked)
      this.#echo = { value: packet.sent, at: now }
      const sample = roundTrip(now, packet)
      if (sample !== null) this.rtt = Number.isNaN(this.rtt) ? sample : this.rtt + 0.125 * (sample - this.rtt)
      if (packet.current >= link.current) {
        link.current = packet.current
        this.#synchronise(session.current - packet.current, packet.advantage / 16)
      }
      link.checksum = [packet.checksumFrame, packet.checksum]
      if (packet.gone[this.player]) this.#suspect('partner_silent', now)
    }
  }

  #synchronise(local, remote) {
    const sync = this.#link.sync
    if (sync.local === null) Object.assign(sync, { local, remote })
    else {
      sync.local += 0.1 * (local - sync.local)
      sync.remote += 0.1 * (remote - sync.remote)
    }
  }

  /** Whoever plays the next episode has our end of this one. */
  #hearOfNext(episode) {
    if (episode === this.episode + 1 && this.#link?.end) this.#link.endAcked = true
  }

  #hearBye(packet, now) {
    this.#saidBye = true
    if (packet.reason === BYE.finished) {
      if (this.#link) this.#link.endAcked = true
      if (this.episode + 1 >= this.start.settings.episodes && this.phase !== 'playing') return
    }
    this.#suspect(packet.reason === BYE.desync ? 'desync' : 'partner_left', now + LEAVE_GRACE)
  }

  #suspect(status, at) {
    if (this.#leaves === null || at < this.#leaves.at) this.#leaves = { at, status }
  }

  // -- time passes

  /** Do what is due; the packets for the other player. */
  poll(now) {
    this.#out = []
    if (this.phase === 'meeting') this.#meet(now)
    if (this.phase === 'playing') this.#play(now)
    if (this.phase === 'ending') this.#end(now)
    if (this.phase === 'leaving') this.#farewell(now)
    return this.#out
  }

  #send(packet) {
    this.#out.push(encode(packet))
  }

  /** Why the other player is gone as of now, or null. */
  #gone(now) {
    const { disconnect_timeout: silence, start_timeout: patience } = this.start.settings
    if (this.#met && now - this.#lastHeard > silence) this.#suspect('partner_silent', now)
    const idle = now - Math.max(this.#waitingSince, this.#progressAt)
    if (this.#inEpisode() && idle > Math.max(patience, silence)) this.#suspect('partner_silent', now)
    return this.#leaves !== null && now >= this.#leaves.at ? this.#leaves.status : null
  }

  #meet(now) {
    if (this.#met) {
      this.#send({ type: 'hello', episode: 0, heard: true })
      this.#begin(0, now)
    } else if (now >= this.#deadline) this.#leave('timeout', now)
    else if (this.#gone(now)) this.#leave('left', now)
    else if (now >= this.#nextTick) {
      this.#send({ type: 'hello', episode: 0, heard: false })
      this.#nextTick = now + HELLO_INTERVAL
    }
  }

  #begin(episode, now) {
    this.episode = episode
    const seed = episodeSeed(this.start.seed, episode)
    this.session = new Session(this.game, seed, this.player, this.start.settings)
    this.#policy.reset(seed)
    this.#link = { acked: -1, current: 0, sync: { local: null, remote: null }, end: null, endAcked: false, checksum: [-1, 0n] }
    this.#lastHeard = now
    this.#began = now
    this.#nextTick = now
    this.#waitingSince = now
    this.phase = 'playing'
  }

  #behind() {
    const { session } = this
    const ahead = session.known(this.other) - session.current
    return session.terminal === null && ahead >= CATCH_UP_AFTER + this.start.settings.input_delay
  }

  get ahead() {
    const sync = this.#link?.sync
    return sync && sync.local !== null ? (sync.local - sync.remote) / 2 : 0
  }

  #stretch() {
    const { ahead } = this
    return Math.abs(ahead) < 0.5 ? 1 : Math.min(1.1, Math.max(0.95, 1 + 0.01 * ahead))
  }

  #play(now) {
    if (now < this.#nextTick && !this.#behind()) return
    const { session } = this
    if (now - this.#nextTick > CLOCK_DEBT * this.#period) this.#nextTick = now
    let budget = CATCH_UP_BATCH
    let progress = session.settle(now - this.#began)
    while (now >= this.#nextTick || (budget > 0 && this.#behind())) {
      if (now >= this.#nextTick) this.#nextTick += this.#period * this.#stretch()
      budget -= 1
      if (progress === OVER) break
      if (progress === READY) {
        if (session.undecided) this.#decide()
        session.step({ time: now - this.#began, rtt: this.rtt, advantage: session.current - this.#link.current })
      } else if (progress === STALLED) {
        session.stalls += 1
        if (this.start.settings.max_prediction === 0 && session.undecided) this.#decide()
      }
      if (session.terminal === null && now < this.#nextTick && !this.#behind()) break
      progress = session.settle(now - this.#began)
    }
    if (this.#desynced() && this.start.settings.on_desync === 'stop') {
      this.#finish('desync', 'desync', now)
      return
    }
    if (progress === OVER) {
      this.#export('complete', now)
      this.phase = 'ending'
      this.#nextTick = now
      this.#waitingSince = now
      return
    }
    this.#sendInputs(now)
    if (progress === READY) this.#waitingSince = now
    const gone = this.#gone(now)
    if (gone) this.#finish(gone, gone === 'desync' ? 'desync' : 'left', now)
  }

  #decide() {
    const { session } = this
    const observation = this.game.observe(session.states[session.current], this.player)
    session.decide(this.#policy.act(observation, session.current))
  }

  #desynced() {
    const [frame, theirs] = this.#link.checksum
    const mine = this.session.digests.get(frame)
    return mine !== undefined && mine !== theirs
  }

  /** All inputs that the other has not acknowledged, in as many packets as it takes, but at most four. */
  #sendInputs(now) {
    const { session } = this
    const link = this.#link
    const mine = session.inputs[this.player]
    const fit = inputsThatFit(2, 1)
    const [checksumFrame, checksum] = session.newestChecksum
    let start = link.acked + 1
    for (let packet = 0; packet < 4; packet++) {
      const inputs = mine.slice(start, start + fit).map((action) => Buffer.of(action))
      this.#send({
        type: 'input',
        episode: this.episode,
        start,
        inputs,
        current: session.current,
        advantage: Math.max(-32768, Math.min(32767, Math.round(16 * (link.sync.local ?? 0)))),
        sent: timestamp(now),
        echo: this.#echo.value,
        echoAge: age(now, this.#echo.at),
        checksumFrame,
        checksum,
        sequence: this.#sent++ & 0xffff,
        loss: 0,
        known: [session.known(0), session.known(1)],
        gone: [false, false],
      })
      start += inputs.length
      if (start >= mine.length) break
    }
  }

  // -- the end of an episode and of the match

  #export(status, now) {
    const one = makeExport({
      start: this.start,
      game: this.game,
      episode: this.episode,
      seed: episodeSeed(this.start.seed, this.episode),
      session: this.session,
      status,
      own: { ...this.#described, startedAt: this.#epoch + this.#began, endedAt: this.#epoch + now },
    })
    one.rollbacks = this.session.rollbacks.length
    this.exports.push(one)
    this.#link.mine = one
  }

  #nextEnd = 0

  #end(now) {
    const link = this.#link
    if (now >= this.#nextTick) {
      this.#nextTick = now + Math.min(this.#period, END_INTERVAL)
      this.#sendInputs(now) // the partner may still lack our last inputs
    }
    if (now >= this.#nextEnd) {
      this.#nextEnd = now + END_INTERVAL
      const { frames, digest } = link.mine
      if (!link.endAcked) this.#send({ type: 'end', episode: this.episode, frames, digest })
      if (link.end) this.#send({ type: 'end-ack', episode: this.episode, frames })
    }
    if (!(link.endAcked && link.end)) {
      if (this.#gone(now)) this.#leave('left', now)
      return
    }
    this.#nextEnd = 0
    const same = link.end.frames === link.mine.frames && link.end.digest.equals(link.mine.digest)
    if (!same && this.start.settings.on_desync === 'stop') this.#leave('desync', now)
    else if (this.episode + 1 >= this.start.settings.episodes) this.#leave('finished', now)
    else this.#begin(this.episode + 1, now)
  }

  #finish(status, reason, now) {
    const progress = this.session.settle(now - this.#began) // what has arrived counts
    this.#export(progress === OVER ? 'complete' : status, now)
    this.#leave(reason, now)
  }

  #leave(reason, now) {
    this.phase = 'leaving'
    this.reason = reason
    this.#deadline = now + LINGER
    this.#nextTick = now
  }

  #farewell(now) {
    if (now < this.#nextTick) return
    this.#nextTick = now + HELLO_INTERVAL
    this.#send({ type: 'bye', episode: this.episode, reason: BYE[this.reason] })
    const talking =
      now < this.#deadline + this.start.settings.disconnect_timeout && now - this.#lastHeard < LINGER && !this.#leaves
    if (this.#saidBye || (now >= this.#deadline && !talking)) this.phase = 'done'
  }
}


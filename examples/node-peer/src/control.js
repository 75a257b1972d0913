// The control channel: Socket.IO with MessagePack over a WebSocket, by hand. When it breaks during a match it comes back
// with `resume`, as docs/protocol.md tells under "Coming back".

import { randomBytes } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { decode } from '@msgpack/msgpack'
import WebSocket from 'ws'
import { pack } from './values.js'

const CONNECT = 0
const DISCONNECT = 1
const EVENT = 2
const ACK = 3
const CONNECT_ERROR = 4

const ANSWER_WITHIN = 5000
const BACKOFF = [50, 1000]
const COUNTED = ['peer_left', 'verdict', 'match_over'] // what `heard` counts

/** The server said no. `code` is one of the error codes of docs/protocol.md. */
export class Refused extends Error {
  constructor(error) {
    super(`${error.code}: ${error.message}${error.field ? ` (${error.field})` : ''}`)
    this.code = error.code
  }
}

/** Emits `match_start`, `peer_left`, `verdict`, `match_over`, `waiting`, `error`; and `lost` when it is lost for good. */
export class Control extends EventEmitter {
  #url
  #socket = null
  #calls = new Map() // acknowledgement id -> {resolve, reject}
  #nextId = 1
  #seat = null // {match, tokens, heard, within}: what it takes to come back
  #closing = false
  resumes = 0

  constructor(url) {
    super()
    this.#url = new URL(url)
    this.#url.protocol = this.#url.protocol === 'https:' ? 'wss:' : 'ws:'
    this.#url.pathname = `${this.#url.pathname.replace(/\/$/, '')}/socket.io/`
    this.#url.search = '?EIO=4&transport=websocket'
  }

  /** Opens the connection: Engine.IO's handshake, then Socket.IO's. */
  connect() {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(this.#url, { perMessageDeflate: false, handshakeTimeout: ANSWER_WITHIN })
      const late = setTimeout(() => socket.terminate(), ANSWER_WITHIN)
      const connected = () => {
        clearTimeout(late)
        this.#socket = socket
        resolve()
      }
      socket.on('message', (data, binary) => {
        if (!binary) this.#text(socket, data.toString())
        else this.#packet(socket, decode(data), connected, reject)
      })
      socket.on('error', (error) => reject(error)) // 'close' follows
      socket.on('close', (code) => {
        clearTimeout(late)
        reject(new Error(`control connection closed with ${code}`))
        if (this.#socket === socket) this.#broken()
      })
    })
  }

  #text(socket, text) {
    if (text[0] === '0') socket.send(pack({ type: CONNECT, nsp: '/', data: null }))
    else if (text === '2') socket.send('3') // a ping, to be answered at once
  }

  #packet(socket, packet, connected, reject) {
    if (packet.type === CONNECT) connected()
    else if (packet.type === CONNECT_ERROR) reject(new Error(`refused: ${JSON.stringify(packet.data)}`))
    else if (packet.type === DISCONNECT) socket.close()
    else if (packet.type === ACK) {
      const call = this.#calls.get(packet.id)
      this.#calls.delete(packet.id)
      const [answer] = packet.data
      if (answer.ok) call?.resolve(answer)
      else call?.reject(new Refused(answer.error))
    } else if (packet.type === EVENT) {
      const [name, message] = packet.data
      if (COUNTED.includes(name) && message.match === this.#seat?.match) this.#seat.heard += 1
      this.emit(name === 'error' ? 'refused' : name, message)
    }
  }

  /** Sends an event; its acknowledgement. Rejects with `Refused` if that says no, or when the connection breaks. */
  call(name, message) {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++
      this.#calls.set(id, { resolve, reject })
      if (this.#socket?.readyState !== WebSocket.OPEN) this.#fail(new Error('not connected'))
      else this.#socket.send(pack({ type: EVENT, nsp: '/', data: [name, message], id }))
    })
  }

  #fail(error) {
    for (const { reject } of this.#calls.values()) reject(error)
    this.#calls.clear()
  }

  /** From now on a broken connection is replaced, for as long as the server holds the seat. */
  holdSeat(start) {
    const { disconnect_timeout: silence, away, away_limit: limit } = start.settings
    const within = away === 'play_on' ? Math.max(silence, limit) : silence
    this.#seat = { match: start.match, tokens: [start.resume], heard: 0, within }
  }

  /** The match was annulled: there is no seat any more. */
  releaseSeat() {
    this.#seat = null
  }

  /** Breaks the connection as an accident would. */
  cut() {
    this.#socket?.terminate()
  }

  async #broken() {
    this.#socket = null
    this.#fail(new Error('the control connection broke'))
    if (this.#closing) return
    if (this.#seat === null) {
      this.emit('lost', 'the control connection broke before play had begun')
      return
    }
    try {
      await this.#comeBack(this.#seat)
      this.resumes += 1
      this.emit('back')
    } catch (error) {
      this.emit('lost', error.message)
    }
  }

  async #comeBack(seat) {
    const until = Date.now() + 1000 * seat.within
    let pause = BACKOFF[0]
    for (;;) {
      try {
        await this.connect()
        await this.#resume(seat)
        return
      } catch (error) {
        if (error instanceof Refused && error.code !== 'closing') throw error
        if (this.#closing || Date.now() > until) throw error
      }
      await sleep(pause * (0.5 + 0.5 * Math.random()))
      pause = Math.min(2 * pause, BACKOFF[1])
    }
  }

  /** Of the tokens that may be good the newest comes first; each attempt makes up the next one. */
  async #resume(seat) {
    for (const token of [...seat.tokens].reverse()) {
      const next = randomBytes(32).toString('base64url')
      seat.tokens.push(next)
      try {
        await this.call('resume', { protocol: 2, match: seat.match, token, new_token: next, heard: seat.heard })
        seat.tokens = [next]
        return
      } catch (error) {
        if (!(error instanceof Refused)) throw error // the answer was lost: both may be good
        seat.tokens.pop()
        if (error.code !== 'bad_resume') throw error
      }
    }
    throw new Error('the server holds no seat for any token of ours')
  }

  /** Says goodbye. */
  close() {
    this.#closing = true
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(pack({ type: DISCONNECT, nsp: '/', data: null }))
      this.#socket.close(1000)
    }
  }
}

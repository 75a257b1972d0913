// The relay: one binary WebSocket, on which byte 0 is the other player. It is opened again when it breaks.

import { EventEmitter } from 'node:events'
import WebSocket from 'ws'
import { resolve } from './address.js'
import { MAX_PACKET } from './packets.js'

const SEND_BOUND = 16 * 1024 // more unsent bytes than this would only arrive stale
const BACKOFF = [50, 1000]

/** Emits `packet` (player, bytes), `open`, and `lost` when there is nothing to come back to. */
export class Relay extends EventEmitter {
  #url
  #ticket
  #socket = null
  #closing = false
  #pause = BACKOFF[0]
  reopened = -1

  constructor(server, start) {
    super()
    this.#url = resolve(server, start.transports.find(({ kind }) => kind === 'relay').address)
    this.#url.protocol = this.#url.protocol === 'https:' ? 'wss:' : 'ws:'
    this.#ticket = start.ticket
    this.#open()
  }

  #open() {
    const socket = new WebSocket(this.#url, {
      headers: { Authorization: `Bearer ${this.#ticket}` },
      maxPayload: MAX_PACKET + 1,
      perMessageDeflate: false,
    })
    let final = null
    socket.on('open', () => {
      this.#socket = socket
      this.#pause = BACKOFF[0]
      this.reopened += 1
      this.emit('open')
    })
    socket.on('message', (data, binary) => {
      if (binary && data.length > 1) this.emit('packet', data[0], data.subarray(1))
    })
    socket.on('unexpected-response', (_, response) => {
      if (response.statusCode < 500) final = `refused with ${response.statusCode}`
      socket.terminate()
    })
    socket.on('error', () => {}) // 'close' follows
    socket.on('close', (code) => {
      this.#socket = null
      if (code >= 4000 && code < 4100) final = `closed with ${code}`
      if (this.#closing) return
      if (final) this.emit('lost', final)
      else {
        setTimeout(() => this.#closing || this.#open(), this.#pause)
        this.#pause = Math.min(2 * this.#pause, BACKOFF[1])
      }
    })
  }

  /** Sends a packet to a player, or drops it: its inputs are in the next one too. */
  send(player, packet) {
    if (this.#socket?.readyState !== WebSocket.OPEN || this.#socket.bufferedAmount > SEND_BOUND) return
    this.#socket.send(Buffer.concat([Buffer.of(player), packet]))
  }

  /** Breaks the connection as an accident would. */
  cut() {
    this.#socket?.terminate()
  }

  close() {
    this.#closing = true
    this.#socket?.close(1000)
  }
}

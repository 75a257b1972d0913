// Uploads: an export is the server's once it has answered 200. Until then it is kept, and sent again.

import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { deflate } from 'node:zlib'
import { resolve } from './address.js'

const compress = promisify(deflate)
const BACKOFF = [100, 5000]
const AGAIN = [408, 429]

/** Uploads one export, for at most `seconds`. Gives `new` or `same`; throws what the server finally says. */
export async function upload(server, start, { episode, body }, seconds = 60) {
  const url = resolve(server, start.upload.replace('{episode}', episode))
  const request = {
    method: 'PUT',
    body: await compress(body),
    headers: {
      Authorization: `Bearer ${start.ticket}`,
      'Content-Type': 'application/msgpack',
      'Content-Encoding': 'deflate',
    },
  }
  const until = Date.now() + 1000 * seconds
  let pause = BACKOFF[0]
  for (;;) {
    let problem
    try {
      const response = await fetch(url, request)
      const answer = await response.json()
      if (response.ok) return answer.stored
      problem = new Error(`upload of episode ${episode}: ${response.status} ${answer.error?.code} ${answer.error?.message}`)
      if (response.status < 500 && !AGAIN.includes(response.status)) throw problem
    } catch (error) {
      if (error === problem) throw error
      problem = error // a broken connection
    }
    if (Date.now() > until) throw problem
    await sleep(pause)
    pause = Math.min(2 * pause, BACKOFF[1])
  }
}

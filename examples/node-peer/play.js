// Plays one match against a rollgym server: joins, plays, uploads, hears the verdicts.
//
//   node play.js --url http://127.0.0.1:8000 [--game drift|pong] [--policy random|follow] [--seed 1] [--name node]
//                [--cut-control FRAME] [--cut-relay FRAME]
//
// `--cut-...` breaks a connection at that frame of the first episode, as an accident would. The last line it prints is JSON.
// Exit code: 0 every episode is verified, 1 some are not, 2 the server is not there or refuses.

import { parseArgs } from 'node:util'
import { Control, Refused } from './src/control.js'
import { drift } from './src/drift.js'
import { ready } from './src/hashes.js'
import { Peer } from './src/peer.js'
import { follow, randomHold } from './src/policies.js'
import { pong } from './src/pong.js'
import { Relay } from './src/relay.js'
import { upload } from './src/upload.js'

const { values: options } = parseArgs({
  options: {
    url: { type: 'string', default: 'http://127.0.0.1:8000' },
    game: { type: 'string', default: 'drift' },
    policy: { type: 'string', default: 'random' },
    seed: { type: 'string', default: '1' },
    name: { type: 'string', default: 'node' },
    'cut-control': { type: 'string' },
    'cut-relay': { type: 'string' },
  },
})
const game = { drift, pong }[options.game]
const makePolicy = { random: () => randomHold(game, Number(options.seed)), follow }[options.policy]
if (!game || !makePolicy) {
  console.error('expected --game drift or pong, and --policy random or follow')
  process.exit(2)
}
const SOFTWARE = { 'node-peer': '1.0.0', node: process.versions.node }
const clock = () => performance.now() / 1000

await ready()
const control = new Control(options.url)

/** Plays a match from its `match_start`. Gives what was played, or null if the match was annulled before it began. */
function play(start) {
  return new Promise((resolve) => {
    const peer = new Peer({
      start,
      game,
      policy: makePolicy(),
      policyInfo: { name: options.policy, seed: Number(options.seed) },
      software: SOFTWARE,
      now: clock(),
      wall: Date.now() / 1000,
    })
    const relay = new Relay(options.url, start)
    const uploads = []
    const played = { episodes: [], relays: 0 }
    const cuts = { control: options['cut-control'], relay: options['cut-relay'] }
    let timer = null

    const work = () => {
      const now = clock()
      for (const packet of peer.poll(now)) relay.send(1 - start.player, packet)
      for (const one of peer.takeExports()) {
        console.log(`episode ${one.episode}: ${one.frames} frames, ${one.status}, ${one.rollbacks} rollbacks`)
        played.episodes.push({ frames: one.frames, status: one.status, rollbacks: one.rollbacks })
        uploads.push(upload(options.url, start, one))
      }
      for (const [which, at] of Object.entries(cuts)) {
        if (at !== undefined && peer.session?.current >= Number(at)) {
          console.log(`frame ${peer.session.current}: the ${which} connection is cut`)
          ;({ control, relay })[which].cut()
          delete cuts[which]
        }
      }
      if (peer.done) end()
      else arm()
    }
    const arm = () => {
      clearTimeout(timer)
      timer = setTimeout(work, Math.max(0, 1000 * (peer.nextWakeup(clock()) - clock())))
    }
    const end = async (annulled = false) => {
      clearTimeout(timer)
      control.off('peer_left', left).off('match_over', over)
      relay.close()
      played.relays = relay.reopened
      if (annulled && !uploads.length) resolve(null)
      else {
        played.stored = (await Promise.allSettled(uploads)).map((one) => one.value ?? one.reason.message)
        resolve(played)
      }
    }
    const left = (message) => message.match === start.match && peer.playerLeft(clock())
    const over = (message) => {
      if (message.match !== start.match || peer.done) return
      if (message.reason === 'annulled') end(true)
      else peer.lineClosed(clock())
    }
    relay.on('packet', (player, bytes) => {
      peer.receive(Buffer.from(bytes), clock())
      if (!peer.done) arm()
    })
    relay.on('open', () => peer.done || arm())
    relay.on('lost', (reason) => {
      console.log(`relay ${reason}`)
      if (peer.done) return
      peer.lineClosed(clock())
      work()
    })
    control.on('peer_left', left).on('match_over', over)
    work()
  })
}

/** The next message of a kind. */
const next = (name) => new Promise((resolve) => control.once(name, resolve))

async function main() {
  const lost = new Promise((_, reject) => control.on('lost', (reason) => reject(new Error(reason))))
  lost.catch(() => {}) // whoever waits for something hears of it
  control.on('refused', (error) => control.emit('lost', new Refused(error).message))
  control.on('waiting', ({ waiting, needed }) => console.log(`waiting: ${waiting} of ${needed} players are there`))
  control.on('back', () => console.log('the control connection is back'))
  const verdicts = new Map()
  control.on('verdict', ({ episode, verdict, detail }) => {
    verdicts.set(episode, verdict)
    console.log(`verdict on episode ${episode}: ${verdict}${detail ? ` (${detail})` : ''}`)
  })

  await control.connect()
  let started = next('match_start')
  await control.call('join', { protocol: 2, game: game.identity, participant: options.name, software: SOFTWARE })
  let played = null
  let match = null
  while (played === null) {
    const start = await Promise.race([started, lost])
    match = start.match
    console.log(`match ${match}, player ${start.player}, against ${start.participants[1 - start.player]}`)
    started = next('match_start') // in case this one is annulled: then another one follows
    control.holdSeat(start)
    const over = new Promise((resolve) => {
      const listener = (message) => message.match === match && (control.off('match_over', listener), resolve(message))
      control.on('match_over', listener)
    })
    played = await play(start)
    if (played === null) {
      control.releaseSeat()
      continue
    }
    // Whoever has heard that the match is over need not say any more.
    await Promise.race([finished(played.episodes.length), over, lost])
    const { reason } = await Promise.race([over, lost])
    played.match = match
    played.over = reason
  }
  control.close()
  played.verdicts = [...verdicts.values()]
  played.resumes = control.resumes
  console.log(JSON.stringify(played))
  const wanted = played.episodes.length
  return played.verdicts.length === wanted && played.verdicts.every((verdict) => verdict === 'verified') ? 0 : 1
}

/** Says that everything was played and uploaded; again if the connection took the answer with it. */
async function finished(episodes) {
  for (;;) {
    try {
      await control.call('finished', { episodes })
      return
    } catch (error) {
      if (error instanceof Refused) {
        if (error.code !== 'not_in_match') throw error
        return // it was said before, or the match is over
      }
      await Promise.race([next('back'), next('lost').then((reason) => Promise.reject(new Error(reason)))])
    }
  }
}

main().then(
  (code) => process.exit(code),
  (error) => {
    console.error(error.message)
    process.exit(2)
  },
)

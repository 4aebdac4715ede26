// Follows the output of a task, over as many connections as it takes.
import { Assembler, type Line } from '../lib/output'
import { ApiError, NotStarted, request, Unavailable } from './http'

export type Following = 'connecting' | 'waiting' | 'live' | 'broken' | 'ended' | 'refused'

export interface Follower {
  lines(lines: Line[]): void
  status(status: Following, error?: unknown): void
  missing(what: string): void
}

const pause = 1000
const sleep = (ms: number, signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => { clearTimeout(timer); resolve() }, { once: true })
  })

/** Reads until the task has ended or the signal aborts. The address gets since=TIME after a break. */
export async function follow(path: string, tail: number | undefined, to: Follower, signal: AbortSignal): Promise<void> {
  const lines = new Assembler()
  to.status('connecting')
  while (!signal.aborted) {
    try {
      lines.resume()
      const more = new URLSearchParams({ follow: 'true', timestamps: 'true' })
      if (lines.since) more.set('since', lines.since)
      else if (tail) more.set('tail', String(tail))
      const response = await request(`${path}&${more}`, { signal, stream: true })
      const missing = response.headers.get('Pai-Missing-Output')
      if (missing) to.missing(missing)
      to.status('live')
      await read(response.body!.pipeThrough(new TextDecoderStream()).getReader(), (part) => to.lines(lines.push(part)))
      to.lines(lines.finish())
      to.status('ended')
      return
    } catch (e) {
      if (signal.aborted) return
      if (e instanceof ApiError) {
        to.status('refused', e)
        return
      }
      if (e instanceof NotStarted) to.status('waiting')
      else if (e instanceof Unavailable || e instanceof TypeError || e instanceof DOMException) to.status('broken')
      else throw e
    }
    await sleep(pause, signal)
  }
}

async function read(reader: ReadableStreamDefaultReader<string>, take: (part: string) => void): Promise<void> {
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    take(value)
  }
}

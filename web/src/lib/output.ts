// The output of a task, line by line, over as many connections as it takes.
import { comparable } from './time'

export interface Line {
  time: string
  text: string
}

/** How many lines the page keeps. */
export const maxLines = 100_000
const escape = String.fromCharCode(27)
const colors = new RegExp(`${escape}\\[[0-9;?]*[A-Za-z]`, 'g')

/** A line with its time; a line without one keeps its text. */
export function readLine(raw: string): Line {
  const space = raw.indexOf(' ')
  const time = space > 0 ? comparable(raw.slice(0, space)) : ''
  const text = time ? raw.slice(space + 1) : raw
  // A progress bar overwrites its line: what is after the last return is what a terminal shows.
  const shown = text.replace(/\r+$/, '')
  return { time, text: shown.slice(shown.lastIndexOf('\r') + 1).replace(colors, '') }
}

/**
 * Puts the parts of streams together. After a break, the next stream begins at the second
 * of the newest line: the lines that were read before are dropped, and none is lost.
 */
export class Assembler {
  private rest = ''
  private last = ''
  private countAtLast = 0
  private toSkip = 0
  private resuming = false

  /** What the next request needs; undefined for the first one. */
  get since(): string | undefined {
    return this.last ? `${this.last}Z` : undefined
  }

  /** A new stream begins. Half a line of the one before comes again. */
  resume(): void {
    this.rest = ''
    this.resuming = this.last !== ''
    this.toSkip = this.countAtLast
  }

  /** Lines that a part of the stream completes. */
  push(part: string): Line[] {
    const pieces = (this.rest + part).split('\n')
    this.rest = pieces.pop() ?? ''
    return pieces.flatMap((p) => this.take(p))
  }

  /** The last line, if it has no end. */
  finish(): Line[] {
    const rest = this.rest
    this.rest = ''
    return rest ? this.take(rest) : []
  }

  private take(raw: string): Line[] {
    const line = readLine(raw)
    if (this.resuming && line.time) {
      if (line.time < this.last) return []
      if (line.time === this.last && this.toSkip > 0) {
        this.toSkip--
        return []
      }
      this.resuming = line.time === this.last
    }
    if (line.time) {
      this.countAtLast = line.time === this.last ? this.countAtLast + 1 : 1
      this.last = line.time
    }
    return [line]
  }
}

/** Indexes of the lines that have a text, whatever its case. */
export function search(lines: readonly Line[], text: string): number[] {
  const wanted = text.toLowerCase()
  if (!wanted) return []
  const found: number[] = []
  lines.forEach((l, i) => {
    if (l.text.toLowerCase().includes(wanted)) found.push(i)
  })
  return found
}

/** Splits a line at the places where the text is. */
export function marked(text: string, wanted: string): { text: string; hit: boolean }[] {
  const parts: { text: string; hit: boolean }[] = []
  const lower = text.toLowerCase()
  const needle = wanted.toLowerCase()
  let at = 0
  if (needle && lower.length === text.length) {
    for (let i = lower.indexOf(needle); i >= 0; i = lower.indexOf(needle, at)) {
      if (i > at) parts.push({ text: text.slice(at, i), hit: false })
      parts.push({ text: text.slice(i, i + needle.length), hit: true })
      at = i + needle.length
    }
  }
  if (at < text.length || parts.length === 0) parts.push({ text: text.slice(at), hit: false })
  return parts
}

/** A time with nanoseconds that can be compared as text, whatever digits it was written with. */
export function comparable(time: string): string {
  const m = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/.exec(time)
  if (!m) return ''
  let seconds = m[1]!
  if (m[3] !== 'Z') seconds = new Date(`${m[1]}${m[3]}`).toISOString().slice(0, 19)
  return `${seconds}.${(m[2] ?? '').padEnd(9, '0').slice(0, 9)}`
}

/** Milliseconds of a time of the server; undefined if there is none. */
export function millis(time: string | number | null | undefined): number | undefined {
  if (time === null || time === undefined || time === '') return undefined
  const ms = typeof time === 'number' ? time : Date.parse(time)
  return Number.isFinite(ms) && ms > 0 ? ms : undefined
}

/** A duration in two units at most: "3 d 4 h", "12 s". */
export function duration(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000))
  const parts: [number, string][] = [
    [Math.floor(s / 86400), 'd'],
    [Math.floor((s % 86400) / 3600), 'h'],
    [Math.floor((s % 3600) / 60), 'min'],
    [s % 60, 's'],
  ]
  const first = parts.findIndex(([n]) => n > 0)
  if (first < 0) return '0 s'
  return parts.slice(first, first + 2).filter(([n]) => n > 0).map(([n, unit]) => `${n} ${unit}`).join(' ')
}

/** Seconds with one digit after the point where that matters. */
export function seconds(s: number): string {
  return s >= 100 ? duration(s * 1000) : `${(Math.round(s * 10) / 10).toFixed(1)} s`
}

const two = (n: number) => String(n).padStart(2, '0')

/** A time of the clock of the reader: "27 Nov 14:05", with the year if it is another one. */
export function clock(ms: number, now = Date.now()): string {
  const d = new Date(ms)
  const day = d.toLocaleDateString('en-GB', { day: 'numeric', month: 'short', ...(d.getFullYear() === new Date(now).getFullYear() ? {} : { year: 'numeric' }) })
  return `${day} ${two(d.getHours())}:${two(d.getMinutes())}`
}

/** The same with seconds and without the day. */
export function clockSeconds(ms: number): string {
  const d = new Date(ms)
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`
}

import { useEffect, useMemo, useReducer, useRef, useState } from 'react'
import { follow, type Following } from '../../api/output'
import { outputPath } from '../../api/jobs'
import type { JobStatus } from '../../api/types'
import { maxLines, search, type Line } from '../../lib/output'
import { allTasks } from '../../lib/why'
import { useSettled } from '../../lib/use'
import { m } from '../../messages'
import { Empty, Refusal } from '../../parts/basics'
import { Check, Choice } from '../../parts/fields'
import { Lines } from './lines'

const tail = 2000

interface Shown {
  lines: Line[]
  dropped: boolean
  status: Following
  error?: unknown
  missing: string
}

const nothing: Shown = { lines: [], dropped: false, status: 'connecting', missing: '' }

/** The output of a task as it arrives. Parts that arrive together are shown together. */
function useOutput(path: string, whole: boolean): Shown {
  const kept = useRef<Shown>(nothing)
  const [, redraw] = useReducer((n: number) => n + 1, 0)
  const [shown, setShown] = useState<Shown>(nothing)
  useEffect(() => {
    const stop = new AbortController()
    kept.current = nothing
    let timer: ReturnType<typeof setTimeout> | undefined
    const change = (next: Partial<Shown>) => {
      kept.current = { ...kept.current, ...next }
      timer ??= setTimeout(() => { timer = undefined; setShown(kept.current) }, 100)
    }
    void follow(path, whole ? undefined : tail, {
      lines(more) {
        if (!more.length) return
        const all = kept.current.lines.concat(more)
        change(all.length > maxLines ? { lines: all.slice(-maxLines), dropped: true } : { lines: all })
      },
      status: (status, error) => change({ status, error }),
      missing: (missing) => change({ missing }),
    }, stop.signal)
    redraw()
    return () => { stop.abort(); clearTimeout(timer); setShown(nothing) }
  }, [path, whole])
  return shown
}

function Search({ lines, at, setAt, text, setText }: { lines: Line[]; at: number; setAt: (n: number) => void; text: string; setText: (t: string) => void }) {
  const settled = useSettled(text, 200)
  const hits = useMemo(() => search(lines, settled), [lines, settled])
  const position = hits.indexOf(at)
  const step = (by: number) => {
    if (!hits.length) return
    const next = position < 0 ? (by > 0 ? hits.find((h) => h > at) ?? hits[0] : hits.findLast((h) => h < at) ?? hits.at(-1)) : hits[(position + by + hits.length) % hits.length]
    setAt(next!)
  }
  return (
    <form className="search" role="search" onSubmit={(e) => { e.preventDefault(); step(1) }}>
      <input type="search" aria-label={m.output.search} placeholder={m.output.search} value={text} onChange={(e) => setText(e.target.value)} />
      {settled && <span role="status" className="quiet">{m.output.found(position + 1, hits.length)}</span>}
      <button type="button" aria-label={m.output.previousHit} disabled={!hits.length} onClick={() => step(-1)}>↑</button>
      <button type="submit" aria-label={m.output.nextHit} disabled={!hits.length}>↓</button>
    </form>
  )
}

export function Output(p: { job: JobStatus; role: string; index: number; onTask: (role: string, index: number) => void }) {
  const all = allTasks(p.job)
  const chosen = all.find(({ role, task }) => (p.role === '' || role === p.role) && task.index === p.index) ?? all[0]
  const [whole, setWhole] = useState(false)
  const [following, setFollowing] = useState(true)
  const [times, setTimes] = useState(false)
  const [text, setText] = useState('')
  const [at, setAt] = useState(-1)
  const role = chosen?.role ?? ''
  const index = chosen?.task.index ?? 0
  const path = outputPath(p.job.user, p.job.name, role, index)
  const shown = useOutput(path, whole)
  if (!chosen) return <Empty title={m.output.noTasks} />
  return (
    <section className="output">
      <div className="filter-row">
        <Choice label={m.output.task} value={`${role}\n${index}`} onChange={(v) => { const [r = '', i = '0'] = v.split('\n'); setAt(-1); p.onTask(r, Number(i)) }}
          options={all.slice(0, 2000).map(({ role, task }): [string, string] => [`${role}\n${task.index}`, `${role} ${task.index} · ${m.states[task.state]}`])} />
        <Search lines={shown.lines} text={text} setText={setText} at={at} setAt={(n) => { setFollowing(false); setAt(n) }} />
        <Check label={m.output.follow} checked={following} onChange={setFollowing} />
        <Check label={m.output.times} checked={times} onChange={setTimes} />
        <a className="button" href={path} download={`${p.job.user}-${p.job.name}-${role}-${index}.txt`}>{m.output.download}</a>
      </div>
      {shown.missing && <p className="note">{m.output.missing(shown.missing)}</p>}
      {shown.dropped && <p className="note">{m.output.dropped(maxLines)}</p>}
      <Lines key={path} label={m.output.region(role, index)} lines={shown.lines} marked={text} at={at} following={following} times={times} onScrollUp={() => setFollowing(false)} />
      <Refusal error={shown.error} />
      <p className="output-end">
        <span role="status" className={`following following-${shown.status}`}>{m.output.status[shown.status]}</span>
        <span className="quiet">{m.output.lines(shown.lines.length)}</span>
        {shown.status === 'live' && shown.lines.length === 0 && <span className="quiet">{m.output.waiting}</span>}
        {!whole && shown.lines.length >= tail && <>
          <span className="quiet">{m.output.tail(tail)}</span>
          <button type="button" className="link" onClick={() => setWhole(true)}>{m.output.whole}</button>
        </>}
      </p>
    </section>
  )
}

import { useEffect, useLayoutEffect, useRef, useState } from 'react'
import { marked, type Line } from '../../lib/output'

const height = 20
const spare = 20

interface Props {
  label: string
  lines: Line[]
  marked: string
  /** The line to bring into view; −1 for none. */
  at: number
  following: boolean
  times: boolean
  onScrollUp: () => void
}

/** Lines. Only those in view are drawn, so that a hundred thousand scroll. */
export function Lines(p: Props) {
  const box = useRef<HTMLDivElement>(null)
  const [view, setView] = useState({ top: 0, height: 600 })
  const bottom = useRef(0)
  useLayoutEffect(() => {
    const b = box.current!
    if (p.following) {
      b.scrollTop = b.scrollHeight
      bottom.current = b.scrollTop
    }
  }, [p.lines, p.following])
  useEffect(() => {
    const b = box.current!
    if (p.at >= 0) b.scrollTop = Math.max(0, p.at * height - b.clientHeight / 2)
  }, [p.at])
  useEffect(() => {
    const b = box.current!
    const observer = new ResizeObserver(() => setView({ top: b.scrollTop, height: b.clientHeight }))
    observer.observe(b)
    return () => observer.disconnect()
  }, [])
  const scrolled = () => {
    const b = box.current!
    setView({ top: b.scrollTop, height: b.clientHeight })
    if (p.following && b.scrollTop < bottom.current - height) p.onScrollUp()
    bottom.current = b.scrollTop
  }
  const first = Math.max(0, Math.floor(view.top / height) - spare)
  const last = Math.min(p.lines.length, Math.ceil((view.top + view.height) / height) + spare)
  return (
    <div ref={box} className="lines" role="log" aria-live="off" aria-label={p.label} tabIndex={0} onScroll={scrolled}>
      <div className="lines-all" style={{ height: p.lines.length * height }}>
        <div className="lines-shown" style={{ transform: `translateY(${first * height}px)` }}>
          {p.lines.slice(first, last).map((l, i) => (
            <div key={first + i} className={first + i === p.at ? 'line line-at' : 'line'}>
              {p.times && <span className="line-time">{l.time.slice(0, 19).replace('T', ' ')} </span>}
              {marked(l.text, p.marked).map((part, j) => (part.hit ? <mark key={j}>{part.text}</mark> : part.text))}
            </div>
          ))}
        </div>
      </div>
    </div>
  )
}

import { useState, type ReactNode } from 'react'
import { ApiError, Unavailable } from '../api/http'
import type { State } from '../api/types'
import { clock, duration, millis } from '../lib/time'
import { useNow } from '../lib/use'
import { m } from '../messages'

/** A state in words; the sign before it helps those who see no color. */
export function StateBadge({ state }: { state: State }) {
  const sign: Record<State, string> = { WAITING: '○', RUNNING: '▶', STOPPING: '◐', STOPPED: '■', SUCCEEDED: '✓', FAILED: '✕', UNKNOWN: '?' }
  return (
    <span className={`state state-${state.toLowerCase()}`}>
      <span aria-hidden="true">{sign[state] ?? '?'}</span> {m.states[state] ?? m.states.UNKNOWN}
    </span>
  )
}

/** What is missing, which part is, and who can add it. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <p className="empty-title">{title}</p>
      {children && <p>{children}</p>}
    </div>
  )
}

/** What the server refused. Without an error it is nothing; Stale shows that the API is unavailable. */
export function Refusal({ error }: { error: unknown }) {
  if (!error || error instanceof Unavailable) return null
  const text = error instanceof Error ? error.message : String(error)
  const next = error instanceof ApiError ? error.next : ''
  return (
    <div className="refusal" role="alert">
      <p>{text}</p>
      {next && <p>{m.nextStep(next)}</p>}
    </div>
  )
}

export function Loading() {
  return <p className="loading" role="status">{m.loading}</p>
}

/** A time, and its age when one points at it. */
export function Time({ at }: { at: number | string | null | undefined }) {
  const ms = millis(at)
  if (ms === undefined) return <span className="quiet">–</span>
  return <time dateTime={new Date(ms).toISOString()} title={new Date(ms).toISOString()}>{clock(ms)}</time>
}

/** How long something took, or has taken so far. */
export function Span({ from, to }: { from: number | string | null | undefined; to?: number | string | null | undefined }) {
  const now = useNow(5000)
  const start = millis(from)
  if (start === undefined) return <span className="quiet">–</span>
  return <>{duration((millis(to) ?? now) - start)}</>
}

/** Names and values. */
export function Facts({ children }: { children: ReactNode }) {
  return <dl className="facts">{children}</dl>
}

export function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  )
}

/** Copies a text, and confirms it. */
export function Copy({ text }: { text: string }) {
  const [copied, setCopied] = useState(false)
  return (
    <button type="button" onClick={() => void navigator.clipboard.writeText(text).then(() => setCopied(true))}>
      {copied ? m.copied : m.copy}
    </button>
  )
}

/** The heading of a page, with what can be done there. */
export function Head({ title, children }: { title: ReactNode; children?: ReactNode }) {
  return (
    <header className="head">
      <h1>{title}</h1>
      {children && <div className="actions">{children}</div>}
    </header>
  )
}

import { clockSeconds, duration } from '../lib/time'
import { useContact, useNow } from '../lib/use'
import { m } from '../messages'

/** Shows that the API is unavailable, since when, and how old the page is. It blocks nothing. */
export function Stale() {
  const { failing, answered } = useContact()
  const now = useNow()
  // A single request that fails is no outage for the reader: the next one comes in a second.
  const shown = failing !== undefined && now - failing > 1500
  const age = duration(now - (failing ?? now))
  return (
    <div role="status" className={shown ? 'stale' : undefined}>
      {shown && (answered === undefined
        ? m.stale.never(clockSeconds(failing), age)
        : m.stale.since(clockSeconds(failing), age, clockSeconds(answered)))}
    </div>
  )
}

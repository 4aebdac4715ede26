// Whether the API answers this page, since when it does not, and for how long it did not.

/** A time during which the API was not responding to this page. */
export interface Outage {
  from: number
  to: number
}

export interface Contact {
  /** When the page was opened. */
  since: number
  /** The newest answer; undefined before the first one. */
  answered?: number
  /** When requests began to fail; undefined while they succeed. */
  failing?: number
  requests: number
  outages: Outage[]
}

/** createContact makes a record; the clock is for tests. */
export function createContact(now: () => number = Date.now) {
  let state: Contact = { since: now(), requests: 0, outages: [] }
  const listeners = new Set<() => void>()
  const set = (next: Contact) => {
    state = next
    for (const l of listeners) l()
  }
  return {
    get: () => state,
    subscribe(listener: () => void) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    succeeded() {
      const { failing, ...rest } = state
      const outages = failing === undefined ? state.outages : [...state.outages, { from: failing, to: now() }].slice(-100)
      set({ ...rest, answered: now(), requests: state.requests + 1, outages })
    },
    failed() {
      set({ ...state, failing: state.failing ?? now(), requests: state.requests + 1 })
    },
  }
}

export const contact = createContact()

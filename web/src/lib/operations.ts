import type { OperationHead } from '../api/types'
import { m } from '../messages'

/** What an operation was: "Upgrade v0.10 → v0.11". */
export function operationName(o: Pick<OperationHead, 'verb' | 'from' | 'to'>): string {
  const word = (o.verb ?? '').replaceAll('-', ' ')
  const verb = m.upgrade.verbs[o.verb] ?? word.charAt(0).toUpperCase() + word.slice(1)
  const from = o.from ?? {}
  const to = o.to ?? {}
  if (from.services && to.services && from.services === to.services && from.kubernetes && to.kubernetes && from.kubernetes !== to.kubernetes) {
    return `${verb} ${m.upgrade.kubernetes(from.kubernetes, to.kubernetes)}`
  }
  return m.upgrade.name(verb, from.services ?? '', to.services ?? '')
}

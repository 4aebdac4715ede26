// What an operation meant for a job. Nothing counts as proven that was not observed.
import type { JobLine } from '../api/types'

export type Verdict = 'proven' | 'unobserved' | 'interrupted' | 'failed' | 'ended'

/**
 * proven: every container that ran before runs after, and the witness watched all the time.
 * unobserved: nothing is known against it, but there are gaps in what was watched.
 * interrupted: a step, the platform, or a machine ended a container, or it is unknown what did.
 * failed: a container ended by itself with an error. ended: containers ended without one.
 */
export function verdict(l: JobLine): Verdict {
  const any = (list: unknown[] | null | undefined) => (list?.length ?? 0) > 0
  if (any(l.interrupted) || any(l.unknown)) return 'interrupted'
  if (any(l.failed)) return 'failed'
  if (l.containersAfter < l.containersBefore) return 'ended'
  if (l.containersBefore === 0 || l.unobservedSeconds > 0) return 'unobserved'
  return 'proven'
}

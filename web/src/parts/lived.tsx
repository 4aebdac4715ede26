import type { ContainerEnd, JobLine, OperationHead } from '../api/types'
import { operationName } from '../lib/operations'
import { clock, clockSeconds, millis, seconds } from '../lib/time'
import { verdict } from '../lib/verdict'
import { m } from '../messages'
import { Fact, Facts } from './basics'

function End({ end }: { end: ContainerEnd }) {
  const at = millis(end.time)
  return (
    <li>
      {m.job.lived.end(end)}{at !== undefined && ` (${clockSeconds(at)})`}.
      {end.cause && <> {m.job.lived.cause(end.cause)}.</>}
      {end.step && <> {m.job.lived.step(end.step)}.</>}
      {(end.evidence?.length ?? 0) > 0 && <ul>{end.evidence!.map((e, i) => <li key={i}>{e}</li>)}</ul>}
    </li>
  )
}

/** What an operation meant for a job: the proof, or what is not proven. */
export function Lived({ operation, line, job }: { operation: OperationHead; line: JobLine; job?: string }) {
  const t = m.job.lived
  const kind = verdict(line)
  const from = millis(operation.started)
  const to = millis(operation.ended)
  const ends = [...(line.interrupted ?? []), ...(line.unknown ?? []), ...(line.failed ?? [])]
  const signs = { proven: '✓', unobserved: '?', interrupted: '✕', failed: '✕', ended: '■' }
  const output = line.output
  return (
    <section className={`lived lived-${kind}`}>
      <h3>{job ? <>{job}: </> : null}<span aria-hidden="true">{signs[kind]} </span>{t.heads[kind](operationName(operation))}</h3>
      {from !== undefined && <p className="quiet">{t.during(clock(from), to === undefined ? m.unknown : clock(to))}</p>}
      <Facts>
        <Fact name={t.containers}>{t.containersValue(line.containersBefore, line.containersAfter)}</Fact>
        <Fact name={t.output}>
          {output ? t.outputPause(seconds(output.longestPauseSeconds), output.usualPauseSeconds === undefined ? undefined : seconds(output.usualPauseSeconds)) : ''}
          {line.outputUnobserved ? <> {t.outputUnobserved(line.outputUnobserved)}</> : !output && t.outputUnknown}
        </Fact>
        <Fact name={t.watched}>{line.unobservedSeconds > 0 ? t.watchedGap(seconds(line.unobservedSeconds)) : t.watchedAll}</Fact>
        <Fact name={t.machines}>{line.machines?.join(', ') || m.unknown}</Fact>
        <Fact name={t.steps}>{line.steps?.join(', ') || t.noSteps}</Fact>
      </Facts>
      {ends.length > 0 && <ul className="ends">{ends.map((e, i) => <End key={i} end={e} />)}</ul>}
    </section>
  )
}

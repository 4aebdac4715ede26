import { useMemo, useState } from 'react'
import { archived, useEvents, useJobChanges, useJobOperations } from '../../api/jobs'
import { ended, type JobStatus } from '../../api/types'
import { operationName } from '../../lib/operations'
import { clock, duration, millis } from '../../lib/time'
import { timeline, type Moment } from '../../lib/timeline'
import { m } from '../../messages'
import { Empty, Fact, Facts, Refusal, Span, Time } from '../../parts/basics'
import { Lived } from '../../parts/lived'

function Tags({ job }: { job: JobStatus }) {
  const { addTag, removeTag } = useJobChanges()
  const [text, setText] = useState('')
  const [error, setError] = useState<unknown>()
  const tags = (job.tags ?? []).filter((t) => t !== archived)
  const add = () => {
    if (text.trim()) void addTag(job.user, job.name, text.trim()).then(() => { setText(''); setError(undefined) }, setError)
  }
  return (
    <>
      {tags.map((t) => (
        <span key={t} className="tag">
          {t} <button type="button" aria-label={m.job.facts.removeTag(t)} onClick={() => void removeTag(job.user, job.name, t).catch(setError)}>×</button>
        </span>
      ))}
      <form className="add-tag" onSubmit={(e) => { e.preventDefault(); add() }}>
        <input aria-label={m.job.facts.newTag} placeholder={m.job.facts.newTag} value={text} maxLength={63} onChange={(e) => setText(e.target.value)} />
        <button type="submit" disabled={!text.trim()}>{m.job.facts.addTag}</button>
      </form>
      <Refusal error={error} />
    </>
  )
}

function sentence(x: Moment, state: string): string {
  const t = m.job.timeline
  switch (x.kind) {
    case 'submitted': return t.submitted
    case 'started': return t.started
    case 'ended': return t.ended(state)
    case 'task': return x.what === 'started' ? t.taskStarted(x.role, x.index, x.machine, x.retries) : t.taskEnded(x.role, x.index, x.exitCode)
    case 'event': return t.event(x.event.taskroleName, x.event.taskIndex, [x.event.reason, x.event.message].filter(Boolean).join(': '), x.event.count)
    case 'operation': return x.edge === 'started' ? t.operationStarted(operationName(x.operation)) : t.operationEnded(operationName(x.operation), m.upgrade.outcomes[x.operation.outcome] ?? x.operation.outcome)
  }
}

function Timeline({ job, moments }: { job: JobStatus; moments: Moment[] }) {
  const tasks = job.taskRoles.reduce((n, r) => n + r.tasks.length, 0)
  return (
    <section className="card">
      <h2>{m.job.timeline.title}</h2>
      <ol className="timeline">
        {moments.map((x, i) => (
          <li key={i} className={`moment moment-${x.kind}${x.kind === 'event' && x.event.type === 'Warning' ? ' moment-warning' : ''}`}>
            <time dateTime={new Date(x.at).toISOString()}>{clock(x.at)}</time>
            <span>{sentence(x, m.states[job.state])}</span>
          </li>
        ))}
      </ol>
      {tasks > 20 && <p className="quiet">{m.job.timeline.moreTasks(tasks - 20)}</p>}
      <p className="quiet">{m.job.timeline.eventsLost}</p>
    </section>
  )
}

export function Overview({ job }: { job: JobStatus }) {
  const events = useEvents(job.user, job.name)
  const operations = useJobOperations(job.user, job.name)
  const moments = useMemo(() => timeline(job, events.data ?? [], operations.data ?? []), [job, events.data, operations.data])
  const f = m.job.facts
  const created = millis(job.created)
  const started = millis(job.started)
  const newest = [...(operations.data ?? [])].reverse()
  return (
    <>
      <section className="card">
        <Facts>
          <Fact name={f.virtualCluster}>{job.virtualCluster}</Fact>
          <Fact name={f.submitted}><Time at={job.created} /></Fact>
          {created !== undefined && started !== undefined && <Fact name={f.waited}>{duration(started - created)}</Fact>}
          {started !== undefined && <Fact name={f.duration}><Span from={started} to={job.ended} /></Fact>}
          {ended(job.state) && <Fact name={f.ended}><Time at={job.ended} /></Fact>}
          <Fact name={f.tasks}>{job.taskRoles.map((r) => `${r.tasks.length} ${r.name}`).join(', ')}</Fact>
          <Fact name={f.gpus}>{job.gpus ?? 0}</Fact>
          {job.priority && <Fact name={f.priority}>{job.priority}</Fact>}
          <Fact name={f.retries}>{job.retries}</Fact>
          <Fact name={f.tags}><Tags job={job} /></Fact>
        </Facts>
      </section>
      <section>
        <h2>{m.job.lived.title}</h2>
        <Refusal error={operations.error} />
        {newest.map((o) => <Lived key={o.id} operation={o} line={o} />)}
        {operations.data && newest.length === 0 && <Empty title={m.job.lived.none}>{m.job.lived.noneHelp}</Empty>}
      </section>
      <Timeline job={job} moments={moments} />
      <section>
        <h2>{m.job.charts.title}</h2>
        <Empty title={m.job.charts.missing}>{m.job.charts.help}</Empty>
      </section>
    </>
  )
}

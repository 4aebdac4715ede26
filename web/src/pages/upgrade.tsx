import { useState } from 'react'
import { Link } from 'wouter'
import { useOperation, useOperations } from '../api/cluster'
import { useRunningJobs } from '../api/jobs'
import type { CurrentOperation, Operation, Session } from '../api/types'
import { operationName } from '../lib/operations'
import { clock, clockSeconds, duration, millis, seconds } from '../lib/time'
import { useContact, useNow, useTitle } from '../lib/use'
import { why } from '../lib/why'
import { m } from '../messages'
import { Empty, Fact, Facts, Head, Loading, Refusal, StateBadge } from '../parts/basics'
import { Lived } from '../parts/lived'

const t = m.upgrade
/** An operation that was silent for so long is not shown as running. */
const silence = 60_000

function Current({ current }: { current: CurrentOperation }) {
  const now = useNow()
  const updated = millis(current.updated) ?? 0
  const silent = now - updated > silence
  const name = operationName(current)
  const steps = current.steps ?? []
  return (
    <section className={`card current ${silent ? 'silent' : ''}`}>
      <h3>{silent ? t.silent(name, duration(now - updated)) : t.running(name)}</h3>
      {silent && <p>{t.silentHelp}</p>}
      <p><progress value={current.done} max={Math.max(1, current.total)} aria-label={t.steps} /> {t.progress(current.done, current.total)}</p>
      <p className="quiet">{t.started(clock(millis(current.started) ?? now))} · {t.updated(duration(now - updated))}</p>
      {(current.outageSeconds ?? 0) > 0 && <p className="quiet">{t.columns.api}: {seconds(current.outageSeconds!)}</p>}
      {(current.waiting?.length ?? 0) > 0 && (
        <>
          <h4>{t.waiting}</h4>
          <ul>
            {current.waiting!.map((w) => (
              <li key={w.machine}>
                {t.waitsFor(w.machine, w.jobs?.map((j) => `${j.user}/${j.name}`).join(', ') || t.someJobs)}{w.reason && `. ${w.reason}`}
              </li>
            ))}
          </ul>
        </>
      )}
      {steps.length > 0 && (
        <details open={steps.length <= 12}>
          <summary>{t.steps}</summary>
          <ol className="steps">
            {steps.map((s) => (
              <li key={s.id} className={`step step-${s.outcome}`}>
                <span className="step-outcome">{t.stepOutcomes[s.outcome] ?? s.outcome}</span> <code>{s.id}</code>
                {s.seconds ? <span className="quiet"> {seconds(s.seconds)}</span> : null}
              </li>
            ))}
          </ol>
        </details>
      )}
    </section>
  )
}

function Past({ operation }: { operation: Operation }) {
  const [open, setOpen] = useState(false)
  const details = useOperation(operation.id, open)
  const from = millis(operation.started)
  const to = millis(operation.ended)
  const c = operation.counts
  const bad = c ? t.bad(c.failed, c.interrupted, c.unknown) : ''
  const jobs = details.data?.jobs ?? operation.jobs ?? []
  const hidden = c ? Math.max(0, c.before - (details.data?.visibleJobs ?? operation.visibleJobs ?? 0)) : 0
  return (
    <li className="card">
      <h3>{operationName(operation)}</h3>
      <Facts>
        <Fact name={t.columns.when}>{from === undefined ? m.unknown : clock(from)}{from !== undefined && to !== undefined && ` (${duration(to - from)})`}</Fact>
        <Fact name={t.columns.outcome}>{t.outcomes[operation.outcome] ?? operation.outcome}</Fact>
        {c && <Fact name={t.columns.jobs}>{t.jobs(c.before, c.running, c.finished)}{bad && <strong className="bad"> · {bad}</strong>}</Fact>}
        {operation.api && <Fact name={t.columns.api}>{seconds(operation.api.outageSeconds)}</Fact>}
        {operation.unobservedSeconds !== undefined && <Fact name={t.columns.unobserved}>{seconds(operation.unobservedSeconds)}</Fact>}
      </Facts>
      <button type="button" aria-expanded={open} onClick={() => setOpen(!open)}>{open ? t.hide : t.details}</button>
      {open && (details.isPending && !details.data ? <Loading /> : (
        <>
          <Refusal error={details.error} />
          {jobs.length === 0 && <p className="quiet">{t.noJobs}</p>}
          {jobs.map((j) => <Lived key={`${j.virtualCluster}/${j.job}`} operation={operation} line={j} job={j.job.replace('~', '/')} />)}
          {details.data?.restored && <Restored restored={details.data.restored} />}
          {hidden > 0 && <p className="quiet">{t.hidden(hidden)}</p>}
        </>
      ))}
    </li>
  )
}

function Restored({ restored }: { restored: NonNullable<Operation['restored']> }) {
  const taken = millis(restored.taken)
  const jobs = restored.jobs ?? []
  return (
    <>
      <h4>{t.restored}</h4>
      <p className="quiet">{t.restoredHelp(taken === undefined ? m.unknown : clock(taken))}</p>
      {jobs.length === 0 ? <p>{t.restoredNone}</p> : (
        <ul>
          {jobs.map((j) => (
            <li key={`${j.virtualCluster}/${j.job}`}>
              {j.job.replace('~', '/')}: {t.records[j.record] ?? j.record}{j.containers !== 'none' && `; ${t.containers[j.containers] ?? j.containers}`}{j.runsAgain && `; ${j.runsAgain}`}
            </li>
          ))}
        </ul>
      )}
    </>
  )
}

function Mine({ session }: { session: Session }) {
  const { known, jobs } = useRunningJobs(session.username)
  if (!known) return <Loading />
  if (jobs.length === 0) return <Empty title={t.mineNone}>{t.mineHelp}</Empty>
  return (
    <>
      <p>{t.mineHelp}</p>
      <ul className="mine">
        {jobs.map((j) => (
          <li key={`${j.user}/${j.name}`}>
            <StateBadge state={j.state} /> <Link href={`/jobs/${encodeURIComponent(j.user)}/${encodeURIComponent(j.name)}`}>{j.name}</Link> <span className="quiet">{why(j)}</span>
          </li>
        ))}
      </ul>
    </>
  )
}

function Seen() {
  const contact = useContact()
  const now = useNow()
  return (
    <section className="card">
      <h2>{t.seen}</h2>
      <p className="quiet">{t.seenText(contact.requests, clockSeconds(contact.since))}</p>
      {contact.outages.length === 0 && contact.failing === undefined ? <p>{t.seenNone}</p> : (
        <ul>
          {contact.outages.map((o) => <li key={o.from}>{t.outage(clockSeconds(o.from), seconds((o.to - o.from) / 1000))}</li>)}
          {contact.failing !== undefined && <li>{t.outageNow(clockSeconds(contact.failing), duration(now - contact.failing))}</li>}
        </ul>
      )}
    </section>
  )
}

export default function Upgrade({ session }: { session: Session }) {
  useTitle(t.title)
  const { data, error } = useOperations()
  return (
    <>
      <Head title={t.title} />
      <Refusal error={error} />
      <section>
        <h2>{t.now}</h2>
        {data === undefined ? !error && <Loading />
          : data === null ? <Empty title={t.notPublished}>{t.notPublishedHelp}</Empty>
          : data.current ? <Current current={data.current} /> : (
            <>
              <Empty title={t.noneNow}>{t.noneNowHelp}</Empty>
              <p className="quiet">{t.plan}. {t.planHelp}</p>
            </>
          )}
      </section>
      <section>
        <h2>{t.mine}</h2>
        <Mine session={session} />
      </section>
      {data && (
        <section>
          <h2>{t.history}</h2>
          {data.operations.length === 0 ? <Empty title={t.historyNone}>{t.historyNoneHelp}</Empty>
            : <ol className="plain">{data.operations.map((o) => <Past key={o.id} operation={o} />)}</ol>}
        </section>
      )}
      <Seen />
    </>
  )
}

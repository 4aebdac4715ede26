import { useState } from 'react'
import { Link, useLocation, useSearch } from 'wouter'
import { ApiError } from '../api/http'
import { archived, useJob, useJobChanges } from '../api/jobs'
import { ended, type JobStatus, type Session } from '../api/types'
import { useTitle } from '../lib/use'
import { why } from '../lib/why'
import { m } from '../messages'
import { Empty, Head, Loading, Refusal, StateBadge } from '../parts/basics'
import { FormDialog } from '../parts/dialog'
import { Configuration } from './job/configuration'
import { Output } from './job/output'
import { Overview } from './job/overview'
import { Tasks } from './job/tasks'

const tabs = ['overview', 'tasks', 'output', 'configuration'] as const
type Tab = (typeof tabs)[number]

function Actions({ job }: { job: JobStatus }) {
  const { stop, addTag, removeTag } = useJobChanges()
  const [confirming, setConfirming] = useState(false)
  const [error, setError] = useState<unknown>()
  const over = ended(job.state)
  const hidden = job.tags?.includes(archived)
  return (
    <>
      {!over && <button type="button" className="danger" disabled={job.state === 'STOPPING'} onClick={() => setConfirming(true)}>{m.job.stop}</button>}
      {over && (
        <button type="button" onClick={() => void (hidden ? removeTag : addTag)(job.user, job.name, archived).then(() => setError(undefined), setError)}>
          {hidden ? m.job.restore : m.job.archive}
        </button>
      )}
      <Link href={`/submit?from=${encodeURIComponent(`${job.user}/${job.name}`)}`} className="button">{m.job.again}</Link>
      <Refusal error={error} />
      {confirming && (
        <FormDialog title={m.job.confirmStop(`${job.user}/${job.name}`)} action={m.job.stop} danger onClose={() => setConfirming(false)} onSubmit={() => stop(job.user, job.name)}>
          <p>{m.jobs.confirmStopHelp}</p>
        </FormDialog>
      )}
    </>
  )
}

function Tabs({ tab, user, name }: { tab: Tab; user: string; name: string }) {
  const at = `/jobs/${encodeURIComponent(user)}/${encodeURIComponent(name)}`
  return (
    <nav className="tabs" aria-label={m.job.tabs.label}>
      {tabs.map((t) => (
        <Link key={t} href={t === 'overview' ? at : `${at}?tab=${t}`} {...(t === tab ? { 'aria-current': 'page' as const } : {})}>{m.job.tabs[t]}</Link>
      ))}
    </nav>
  )
}

export default function Job({ user, name }: { user: string; name: string; session: Session }) {
  useTitle(name)
  const query = new URLSearchParams(useSearch())
  const [, go] = useLocation()
  const tab = tabs.find((t) => t === query.get('tab')) ?? 'overview'
  const { data: job, error, isError } = useJob(user, name)
  if (error instanceof ApiError && [400, 403, 404].includes(error.status) && !job) {
    return <Empty title={m.job.notFound}>{m.job.notFoundHelp}</Empty>
  }
  if (!job) return isError ? <Refusal error={error} /> : <Loading />
  const show = (role: string, index: number) => `/jobs/${encodeURIComponent(user)}/${encodeURIComponent(name)}?${new URLSearchParams({ tab: 'output', role, task: String(index) })}`
  return (
    <>
      <Head title={<><span className="quiet">{user}/</span>{name}</>}><Actions job={job} /></Head>
      <p className={`why why-${job.state.toLowerCase()}`}><StateBadge state={job.state} /> <span>{why(job)}</span></p>
      <Tabs tab={tab} user={user} name={name} />
      {tab === 'overview' && <Overview job={job} />}
      {tab === 'tasks' && <Tasks job={job} outputOf={show} />}
      {tab === 'output' && (
        <Output job={job} role={query.get('role') ?? ''} index={Number(query.get('task') ?? 0) || 0} onTask={(r, i) => go(show(r, i), { replace: true })} />
      )}
      {tab === 'configuration' && <Configuration user={user} name={name} />}
    </>
  )
}

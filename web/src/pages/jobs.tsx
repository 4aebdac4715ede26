import { useEffect, useMemo, useState } from 'react'
import { Link, useLocation, useSearch } from 'wouter'
import { archived, useCounts, useJobChanges, useJobs } from '../api/jobs'
import { ended, type JobSummary, type Session, type State } from '../api/types'
import { noFilters, pageSize, readFilters, writeFilters, type Filters } from '../lib/filters'
import { useSettled, useTitle } from '../lib/use'
import { m } from '../messages'
import { Empty, Head, Loading, Refusal, Span, StateBadge, Time } from '../parts/basics'
import { FormDialog } from '../parts/dialog'
import { Check, Field } from '../parts/fields'
import { Pager } from '../parts/pager'
import { Table, type Column } from '../parts/table'

const counted: readonly State[] = ['WAITING', 'RUNNING', 'SUCCEEDED', 'FAILED', 'STOPPED']
const idOf = (j: JobSummary) => `${j.username}/${j.name}`

/** The filters of the address, and how to change them. */
function useFilters(): [Filters, (change: Partial<Filters>) => void] {
  const filters = readFilters(useSearch())
  const [, go] = useLocation()
  return [filters, (change) => go(`/jobs${writeFilters({ ...filters, page: 0, ...change })}`, { replace: !('page' in change) })]
}

// none is what a list has of the size of a job of another user.
const none = <span className="quiet">–</span>

function columns(selected: Set<string>, toggle: (id: string) => void): Column<JobSummary>[] {
  const c = m.jobs.columns
  return [
    { key: 'select', head: '', cell: (j) => <input type="checkbox" aria-label={m.jobs.select(idOf(j))} checked={selected.has(idOf(j))} onChange={() => toggle(idOf(j))} /> },
    { key: 'name', head: c.name, order: 'jobName', cell: (j) => (
      <>
        <Link href={`/jobs/${encodeURIComponent(j.username)}/${encodeURIComponent(j.name)}`} className="name">{j.name}</Link>
        {j.tags.filter((t) => t !== archived).map((t) => <span key={t} className="tag">{t}</span>)}
      </>
    ) },
    { key: 'state', head: c.state, order: 'state', cell: (j) => <StateBadge state={j.state} /> },
    { key: 'user', head: c.user, order: 'username', cell: (j) => j.username },
    { key: 'vc', head: c.virtualCluster, order: 'vc', cell: (j) => j.virtualCluster },
    { key: 'tasks', head: c.tasks, order: 'totalTaskNumber', number: true, cell: (j) => j.totalTaskNumber || none },
    { key: 'gpus', head: c.gpus, order: 'totalGpuNumber', number: true, cell: (j) => (j.totalTaskNumber ? j.totalGpuNumber : none) },
    { key: 'submitted', head: c.submitted, order: 'submissionTime', cell: (j) => <Time at={j.submissionTime} /> },
    { key: 'duration', head: c.duration, cell: (j) => (j.launchedTime ? <Span from={j.launchedTime} to={j.completedTime} /> : none) },
  ]
}

function FilterBar({ filters, change, session }: { filters: Filters; change: (c: Partial<Filters>) => void; session: Session }) {
  const counts = useCounts(filters, counted)
  const [keyword, setKeyword] = useState(filters.keyword)
  const settled = useSettled(keyword)
  useEffect(() => {
    if (settled !== filters.keyword) change({ keyword: settled })
    // Only what is typed changes the address here.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [settled])
  const toggle = (s: State) => change({ states: filters.states.includes(s) ? filters.states.filter((x) => x !== s) : [...filters.states, s] })
  const filtered = writeFilters({ ...filters, order: '', page: 0 }) !== ''
  return (
    <div className="filters">
      <div className="chips" role="group" aria-label={m.jobs.state}>
        {counted.map((s) => (
          <button key={s} type="button" aria-pressed={filters.states.includes(s)} onClick={() => toggle(s)}>
            {m.states[s]} <span className="count">{counts.get(s)?.toLocaleString('en-US') ?? '…'}</span>
          </button>
        ))}
      </div>
      <div className="filter-row">
        <Field label={m.jobs.keyword} type="search" value={keyword} onChange={setKeyword} />
        <Field label={m.jobs.user} value={filters.user} onChange={(user) => change({ user: user.trim() })} autoCapitalize="none" spellCheck={false} />
        <Field label={m.jobs.virtualCluster} value={filters.virtualCluster} onChange={(vc) => change({ virtualCluster: vc.trim() })} autoCapitalize="none" spellCheck={false} />
        <button type="button" aria-pressed={filters.user === session.username} onClick={() => change({ user: filters.user === session.username ? '' : session.username })}>{m.jobs.mine}</button>
        <Check label={m.jobs.archived} checked={filters.archived} onChange={(on) => change({ archived: on })} />
        {filtered && <button type="button" className="link" onClick={() => { setKeyword(''); change(noFilters) }}>{m.jobs.reset}</button>}
      </div>
    </div>
  )
}

function Selection({ jobs, clear, showsArchive }: { jobs: JobSummary[]; clear: () => void; showsArchive: boolean }) {
  const { stop, addTag, removeTag } = useJobChanges()
  const [confirming, setConfirming] = useState(false)
  const [error, setError] = useState<unknown>()
  const running = jobs.filter((j) => !ended(j.state))
  const over = jobs.filter((j) => ended(j.state))
  /** One at a time: the server limits how much a user asks at once. */
  const each = async (list: JobSummary[], change: (j: JobSummary) => Promise<unknown>) => {
    const failed: string[] = []
    for (const j of list) await change(j).catch((e: unknown) => failed.push(`${idOf(j)} (${e instanceof Error ? e.message : e})`))
    setError(failed.length ? new Error(m.jobs.partly(failed)) : undefined)
    if (!failed.length) clear()
  }
  const archive = (j: JobSummary) => (showsArchive ? removeTag : addTag)(j.username, j.name, archived)
  return (
    <div className="selection" role="region" aria-label={m.jobs.selected(jobs.length)}>
      <strong>{m.jobs.selected(jobs.length)}</strong>
      <button type="button" className="danger" disabled={!running.length} onClick={() => setConfirming(true)}>{m.jobs.stop}</button>
      <button type="button" disabled={!over.length} onClick={() => void each(over, archive)}>{showsArchive ? m.jobs.unarchive : m.jobs.archive}</button>
      <button type="button" className="link" onClick={clear}>{m.jobs.clear}</button>
      <Refusal error={error} />
      {confirming && (
        <FormDialog title={m.jobs.confirmStop(running.length)} action={m.jobs.stop} danger onClose={() => setConfirming(false)}
          onSubmit={() => each(running, (j) => stop(j.username, j.name))}>
          <ul>{running.slice(0, 10).map((j) => <li key={idOf(j)}>{idOf(j)}</li>)}{running.length > 10 && <li>…</li>}</ul>
          <p>{m.jobs.confirmStopHelp}</p>
        </FormDialog>
      )}
    </div>
  )
}

export default function Jobs({ session }: { session: Session }) {
  useTitle(m.jobs.title)
  const [filters, change] = useFilters()
  const list = useJobs(filters)
  const [selected, setSelected] = useState<Set<string>>(new Set())
  const rows = useMemo(() => list.data?.data ?? [], [list.data])
  const toggle = (id: string) => {
    const next = new Set(selected)
    if (!next.delete(id)) next.add(id)
    setSelected(next)
  }
  const chosen = rows.filter((j) => selected.has(idOf(j)))
  const filtered = writeFilters({ ...filters, order: '', page: 0 }) !== ''
  return (
    <>
      <Head title={m.jobs.title}><Link href="/submit" className="button primary">{m.jobs.new}</Link></Head>
      <FilterBar filters={filters} change={change} session={session} />
      {chosen.length > 0 && <Selection jobs={chosen} clear={() => setSelected(new Set())} showsArchive={filters.archived} />}
      <Refusal error={list.error} />
      {list.data?.incomplete && <p role="status" className="note">{m.jobs.incomplete}</p>}
      {list.data === undefined ? !list.isError && <Loading /> : rows.length === 0 ? (
        <Empty title={filtered ? m.jobs.emptyFilter : m.jobs.empty}>{filtered ? m.jobs.emptyFilterHelp : m.jobs.emptyHelp}</Empty>
      ) : (
        <>
          <p className="quiet" role="status">{m.jobs.total(list.data.totalCount)}</p>
          <Table caption={m.jobs.caption} columns={columns(selected, toggle)} rows={rows} rowKey={idOf} order={filters.order} onOrder={(order) => change({ order })} />
        </>
      )}
      {list.data && <Pager page={filters.page} size={pageSize} total={list.data.totalCount} onPage={(page) => change({ page })} />}
    </>
  )
}

import { useState } from 'react'
import { Link } from 'wouter'
import { states, type JobStatus, type State, type Task } from '../../api/types'
import { allTasks } from '../../lib/why'
import { m } from '../../messages'
import { Empty, Span, StateBadge, Time } from '../../parts/basics'
import { Choice } from '../../parts/fields'
import { Pager } from '../../parts/pager'
import { Table, type Column } from '../../parts/table'

const size = 50
type Row = { role: string; task: Task }

export function Tasks({ job, outputOf }: { job: JobStatus; outputOf: (role: string, index: number) => string }) {
  const [page, setPage] = useState(0)
  const [state, setState] = useState<State | ''>('')
  const t = m.job.tasks
  const rows = allTasks(job).filter(({ task }) => !state || task.state === state)
  const columns: Column<Row>[] = [
    { key: 'task', head: t.index, cell: ({ role, task }) => <strong>{role} {task.index}</strong> },
    { key: 'state', head: t.state, cell: ({ task }) => <StateBadge state={task.state} /> },
    { key: 'machine', head: t.machine, cell: ({ task }) => task.machine ?? <span className="quiet">–</span> },
    { key: 'started', head: t.started, cell: ({ task }) => <Time at={task.started} /> },
    { key: 'duration', head: t.duration, cell: ({ task }) => (task.started ? <Span from={task.started} to={task.ended} /> : <span className="quiet">–</span>) },
    { key: 'exit', head: t.exit, number: true, cell: ({ task }) => task.exitCode ?? <span className="quiet">–</span> },
    { key: 'restarts', head: t.restarts, number: true, cell: ({ task }) => task.retries },
    { key: 'message', head: t.message, cell: ({ task }) => task.message ?? <span className="quiet">–</span> },
    { key: 'output', head: t.output, cell: ({ role, task }) => <Link href={outputOf(role, task.index)} aria-label={t.openOutput(role, task.index)}>{t.output}</Link> },
  ]
  const shown = Math.min(page, Math.max(0, Math.ceil(rows.length / size) - 1))
  return (
    <>
      <div className="filter-row">
        <Choice label={t.filter} value={state} onChange={(s) => { setState(s); setPage(0) }}
          options={[['', t.all], ...states.map((s): [State, string] => [s, m.states[s]])]} />
      </div>
      {rows.length === 0 ? <Empty title={t.empty} /> : (
        <Table caption={t.caption} columns={columns} rows={rows.slice(shown * size, (shown + 1) * size)} rowKey={({ role, task }) => `${role}/${task.index}`} />
      )}
      <Pager page={shown} size={size} total={rows.length} onPage={setPage} />
    </>
  )
}

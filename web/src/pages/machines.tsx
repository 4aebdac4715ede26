import { Link } from 'wouter'
import { useGPUUse, useNodes, usePods } from '../api/cluster'
import { useRunningJobs } from '../api/jobs'
import type { Session } from '../api/types'
import { machines, type Machine, type Slot } from '../lib/machines'
import { useTitle } from '../lib/use'
import { m } from '../messages'
import { Empty, Fact, Facts, Head, Loading, Refusal } from '../parts/basics'

const t = m.machines
const jobAt = (user: string, job: string) => `/jobs/${encodeURIComponent(user)}/${encodeURIComponent(job)}`

function Square({ slot }: { slot: Slot }) {
  if (slot.use === 'job' && slot.user && slot.job) {
    const name = t.ofJob(slot.user, slot.job)
    return <li><Link href={jobAt(slot.user, slot.job)} className="slot slot-job" title={name}>{name}</Link></li>
  }
  return <li><span className={`slot slot-${slot.use === 'free' ? 'free' : 'used'}`}>{slot.use === 'free' ? t.free : t.used}</span></li>
}

function Health({ d }: { d: NonNullable<Machine['details']> }) {
  return (
    <p className="health">
      <span className={d.ready ? 'good' : 'bad'}>{d.ready ? `✓ ${t.ready}` : `✕ ${t.notReady}`}</span>
      {d.cordoned && <span className="warn">⊘ {t.cordoned}</span>}
      {d.problems.map((p) => <span key={p.type} className="bad">{p.type}{p.message && `: ${p.message}`}</span>)}
    </p>
  )
}

function Card({ machine }: { machine: Machine }) {
  const d = machine.details
  return (
    <li className="card machine">
      <h2>{machine.name}</h2>
      {d && <Health d={d} />}
      {machine.slots.length === 0 ? <p className="quiet">{t.noGPUs}</p> : <ul className="slots" aria-label={t.slots(machine.slots.length)}>{machine.slots.map((s, i) => <Square key={i} slot={s} />)}</ul>}
      {machine.others.length > 0 && (
        <p>{t.others}: {machine.others.map((o, i) => <span key={`${o.user}/${o.job}`}>{i > 0 && ', '}<Link href={jobAt(o.user, o.job)}>{t.ofJob(o.user, o.job)}</Link> ({t.tasks(o.tasks)})</span>)}</p>
      )}
      {d && (
        <Facts>
          {d.kind && <Fact name={t.kind}>{d.kind}</Fact>}
          <Fact name={t.cpu}>{d.cpu}</Fact>
          <Fact name={t.memory}>{d.memory}</Fact>
          <Fact name={t.version}>{d.version || m.unknown}</Fact>
        </Facts>
      )}
    </li>
  )
}

export default function Machines({ session }: { session: Session }) {
  useTitle(t.title)
  const use = useGPUUse()
  const nodes = useNodes(session.admin)
  const pods = usePods(session.admin)
  const own = useRunningJobs(session.admin ? '' : session.username)
  const error = use.error ?? nodes.error ?? pods.error
  if (use.data === undefined || (session.admin && (!nodes.data || !pods.data))) {
    return <><Head title={t.title} />{error ? <Refusal error={error} /> : <Loading />}</>
  }
  const list = machines(use.data, own.jobs, nodes.data, pods.data)
  const slots = list.flatMap((x) => x.slots)
  return (
    <>
      <Head title={t.title} />
      <Refusal error={error} />
      {list.length === 0 ? <Empty title={t.none}>{t.noneHelp}</Empty> : (
        <>
          <p className="quiet">{t.summary(list.length, slots.filter((s) => s.use === 'free').length, slots.length)}</p>
          {slots.length === 0 && <Empty title={t.gpuMissing}>{t.gpuMissingHelp}</Empty>}
          <ul className="machines plain">{list.map((x) => <Card key={x.name} machine={x} />)}</ul>
          {!session.admin && <p className="quiet">{t.limited}</p>}
          <p className="quiet">{t.busy}</p>
        </>
      )}
    </>
  )
}

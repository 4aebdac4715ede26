import { Link } from 'wouter'
import { useUser } from '../api/accounts'
import { useVirtualClusters } from '../api/cluster'
import { useCounts } from '../api/jobs'
import type { Session, VirtualCluster } from '../api/types'
import { noFilters } from '../lib/filters'
import { useTitle } from '../lib/use'
import { m } from '../messages'
import { Empty, Head, Loading, Refusal } from '../parts/basics'

const t = m.virtualClusters

function Bar({ name, used, total }: { name: string; used: number; total: number }) {
  return (
    <div className="bar-row">
      <span>{name}</span>
      {total === 0 && used === 0 ? <span className="quiet">{t.nothing}</span> : (
        <>
          <progress value={Math.min(used, total)} max={Math.max(total, 1)} aria-label={name} />
          <span>{t.use(used, total)}{used > total && <span className="warn"> · {t.over}</span>}</span>
        </>
      )}
    </div>
  )
}

function Card({ name, vc, right }: { name: string; vc: VirtualCluster; right: boolean | undefined }) {
  const counts = useCounts({ ...noFilters, virtualCluster: name }, ['WAITING', 'RUNNING'])
  const at = `/jobs?${new URLSearchParams({ vc: name })}`
  return (
    <li className="card">
      <h2>{name}</h2>
      <p className="quiet">{right === undefined ? t.unknownRight : right ? t.mine : t.notMine}</p>
      <Bar name={t.gpu} used={vc.resourcesUsed.gpu} total={vc.resourcesTotal.gpu} />
      <Bar name={t.cpu} used={vc.resourcesUsed.cpu} total={vc.resourcesTotal.cpu} />
      <Bar name={t.memory} used={vc.resourcesUsed.memory} total={vc.resourcesTotal.memory} />
      <p>
        <Link href={`${at}&state=RUNNING`}>{t.running(counts.get('RUNNING') ?? 0)}</Link>, <Link href={`${at}&state=WAITING`}>{t.waiting(counts.get('WAITING') ?? 0)}</Link>
      </p>
    </li>
  )
}

export default function VirtualClusters({ session }: { session: Session }) {
  useTitle(t.title)
  const { data, error } = useVirtualClusters()
  const me = useUser(session.username)
  const right = (name: string) => (session.admin ? true : me.data?.virtualCluster?.includes(name))
  const list = Object.entries(data ?? {}).sort(([a], [b]) => a.localeCompare(b))
  return (
    <>
      <Head title={t.title} />
      <Refusal error={error} />
      {data === undefined ? !error && <Loading />
        : list.length === 0 ? <Empty title={t.none}>{t.noneHelp}</Empty>
        : <ul className="grid plain">{list.map(([name, vc]) => <Card key={name} name={name} vc={vc} right={right(name)} />)}</ul>}
    </>
  )
}

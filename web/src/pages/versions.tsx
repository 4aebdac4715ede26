import { useInfo, useNodes } from '../api/cluster'
import type { KubeNode, Session } from '../api/types'
import { useTitle } from '../lib/use'
import { m } from '../messages'
import { Empty, Fact, Facts, Head, Loading, Refusal } from '../parts/basics'
import { Table, type Column } from '../parts/table'

const t = m.versions
const columns: Column<KubeNode>[] = [
  { key: 'name', head: t.machine, cell: (n) => <strong>{n.metadata.name}</strong> },
  { key: 'kubelet', head: t.kubelet, cell: (n) => n.status?.nodeInfo?.kubeletVersion ?? m.unknown },
  { key: 'runtime', head: t.runtime, cell: (n) => n.status?.nodeInfo?.containerRuntimeVersion ?? m.unknown },
  { key: 'kernel', head: t.kernel, cell: (n) => n.status?.nodeInfo?.kernelVersion ?? m.unknown },
]

export default function Versions({ session }: { session: Session }) {
  useTitle(t.title)
  const info = useInfo()
  const nodes = useNodes(session.admin)
  return (
    <>
      <Head title={t.title} />
      <section className="card">
        {info.data ? (
          <Facts>
            <Fact name={t.release}>{info.data.release || m.unknown}</Fact>
            <Fact name={t.api}>{[info.data.api, info.data.protocol].filter(Boolean).join(' · ')}</Fact>
          </Facts>
        ) : <Loading />}
      </section>
      <section>
        <h2>{t.machines}</h2>
        <Refusal error={nodes.error} />
        {!session.admin ? <Empty title={t.machinesLimited}>{t.machinesLimitedHelp}</Empty>
          : nodes.data ? <Table caption={t.caption} columns={columns} rows={nodes.data} rowKey={(n) => n.metadata.name} /> : !nodes.error && <Loading />}
      </section>
      <section>
        <h2>{t.services}</h2>
        <Empty title={t.servicesMissing}>{t.servicesHelp}</Empty>
      </section>
      <section>
        <h2>{t.alerts}</h2>
        <Empty title={t.noAlerts}>{t.noAlertsHelp}</Empty>
      </section>
    </>
  )
}

import { useState } from 'react'
import { useAccountChanges, useGroups } from '../api/accounts'
import type { Group, Session } from '../api/types'
import { names } from '../lib/lists'
import { useTitle } from '../lib/use'
import { m } from '../messages'
import { Empty, Head, Loading, Refusal } from '../parts/basics'
import { FormDialog } from '../parts/dialog'
import { Check, Field } from '../parts/fields'
import { Table, type Column } from '../parts/table'

const t = m.groups

function Edit({ group, onClose }: { group: Group | undefined; onClose: () => void }) {
  const { createGroup, updateGroup } = useAccountChanges()
  const acls = group?.extension?.acls
  const [name, setName] = useState(group?.groupname ?? '')
  const [description, setDescription] = useState(group?.description ?? '')
  const [clusters, setClusters] = useState(acls?.virtualClusters?.join(', ') ?? '')
  const [admin, setAdmin] = useState(acls?.admin ?? false)
  const submit = () => {
    // What the page does not show stays as it is.
    const change: Group = { groupname: name.trim(), description, extension: { ...group?.extension, acls: { ...acls, admin, virtualClusters: names(clusters) } } }
    return group ? updateGroup(change) : createGroup(change)
  }
  return (
    <FormDialog title={group ? t.editOf(group.groupname) : t.new} action={t.save} onClose={onClose} onSubmit={submit}>
      <Field label={t.name} value={name} onChange={setName} required readOnly={group !== undefined} autoComplete="off" autoCapitalize="none" spellCheck={false} />
      <Field label={t.description} value={description} onChange={setDescription} autoComplete="off" />
      <Field label={t.virtualClusters} value={clusters} onChange={setClusters} autoComplete="off" autoCapitalize="none" spellCheck={false} />
      <Check label={t.admin} checked={admin} onChange={setAdmin} />
    </FormDialog>
  )
}

export default function Groups({ session }: { session: Session }) {
  useTitle(t.title)
  const { data, error } = useGroups()
  const { deleteGroup } = useAccountChanges()
  const [editing, setEditing] = useState<Group | 'new'>()
  const [removing, setRemoving] = useState<string>()
  if (!session.admin) return <Empty title={m.users.only}>{m.users.onlyHelp}</Empty>
  const columns: Column<Group>[] = [
    { key: 'name', head: t.name, cell: (g) => <strong>{g.groupname}</strong> },
    { key: 'description', head: t.description, cell: (g) => g.description || <span className="quiet">–</span> },
    { key: 'vcs', head: t.virtualClustersColumn, cell: (g) => g.extension?.acls?.virtualClusters?.join(', ') || <span className="quiet">–</span> },
    { key: 'admin', head: t.adminColumn, cell: (g) => (g.extension?.acls?.admin ? m.profile.yes : m.profile.no) },
    { key: 'do', head: '', cell: (g) => (
      <span className="actions">
        <button type="button" aria-label={t.editOf(g.groupname)} onClick={() => setEditing(g)}>{t.edit}</button>
        <button type="button" className="danger" aria-label={t.removeOf(g.groupname)} onClick={() => setRemoving(g.groupname)}>{t.remove}</button>
      </span>
    ) },
  ]
  return (
    <>
      <Head title={t.title}><button type="button" className="primary" onClick={() => setEditing('new')}>{t.new}</button></Head>
      <Refusal error={error} />
      {data === undefined ? !error && <Loading /> : data.length === 0 ? <Empty title={t.empty} />
        : <Table caption={t.caption} columns={columns} rows={data} rowKey={(g) => g.groupname} />}
      {editing && <Edit group={editing === 'new' ? undefined : editing} onClose={() => setEditing(undefined)} />}
      {removing && (
        <FormDialog title={t.confirm(removing)} action={t.remove} danger onClose={() => setRemoving(undefined)} onSubmit={() => deleteGroup(removing)}>
          <p>{t.confirmHelp}</p>
        </FormDialog>
      )}
    </>
  )
}

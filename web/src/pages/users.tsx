import { useState } from 'react'
import { useAccountChanges, useUsers, type UserChange } from '../api/accounts'
import type { Session, UserInfo } from '../api/types'
import { names } from '../lib/lists'
import { useTitle } from '../lib/use'
import { m } from '../messages'
import { Empty, Head, Loading, Refusal } from '../parts/basics'
import { FormDialog } from '../parts/dialog'
import { Check, Field } from '../parts/fields'
import { Pager } from '../parts/pager'
import { Table, type Column } from '../parts/table'

const t = m.users
const size = 50

function Edit({ user, onClose }: { user: UserInfo | undefined; onClose: () => void }) {
  const { createUser, updateUser } = useAccountChanges()
  const [name, setName] = useState(user?.username ?? '')
  const [email, setEmail] = useState(user?.email ?? '')
  const [admin, setAdmin] = useState(user?.admin ?? false)
  const [groups, setGroups] = useState(user?.grouplist?.join(', ') ?? '')
  const [password, setPassword] = useState('')
  const submit = () => {
    const change: UserChange = { username: name.trim(), ...(password ? { password } : {}) }
    if (!user || email !== (user.email ?? '')) change.email = email
    if (!user || groups !== (user.grouplist?.join(', ') ?? '')) change.grouplist = names(groups)
    // Groups decide who is an administrator: the box is sent only if it was changed.
    if (admin !== (user?.admin ?? false)) change.admin = admin
    return user ? updateUser(change) : createUser(change)
  }
  return (
    <FormDialog title={user ? t.editOf(user.username) : t.new} action={t.save} onClose={onClose} onSubmit={submit}>
      <Field label={t.name} value={name} onChange={setName} required readOnly={user !== undefined} autoComplete="off" autoCapitalize="none" spellCheck={false} />
      <Field label={t.email} type="email" value={email} onChange={setEmail} autoComplete="off" />
      <Field label={t.groups} value={groups} onChange={setGroups} autoComplete="off" />
      <Field label={user ? t.newPassword : t.password} type="password" value={password} onChange={setPassword} required={!user} minLength={6} autoComplete="new-password" />
      <Check label={t.admin} checked={admin} onChange={setAdmin} />
    </FormDialog>
  )
}

export default function Users({ session }: { session: Session }) {
  useTitle(t.title)
  const { data, error } = useUsers()
  const { deleteUser } = useAccountChanges()
  const [editing, setEditing] = useState<UserInfo | 'new'>()
  const [removing, setRemoving] = useState<string>()
  const [filter, setFilter] = useState('')
  const [page, setPage] = useState(0)
  if (!session.admin) return <Empty title={t.only}>{t.onlyHelp}</Empty>
  const rows = (data ?? []).filter((u) => `${u.username} ${u.email ?? ''} ${u.grouplist?.join(' ') ?? ''}`.toLowerCase().includes(filter.toLowerCase()))
  const columns: Column<UserInfo>[] = [
    { key: 'name', head: t.name, cell: (u) => <strong>{u.username}</strong> },
    { key: 'email', head: t.email, cell: (u) => u.email || <span className="quiet">–</span> },
    { key: 'groups', head: t.groupsColumn, cell: (u) => u.grouplist?.join(', ') || <span className="quiet">–</span> },
    { key: 'admin', head: t.admin, cell: (u) => (u.admin ? m.profile.yes : m.profile.no) },
    { key: 'password', head: t.canLogIn, cell: (u) => (u.canLogIn === undefined ? m.unknown : u.canLogIn ? t.has : t.hasNot) },
    { key: 'do', head: '', cell: (u) => (
      <span className="actions">
        <button type="button" aria-label={t.editOf(u.username)} onClick={() => setEditing(u)}>{t.edit}</button>
        <button type="button" className="danger" aria-label={t.removeOf(u.username)} onClick={() => setRemoving(u.username)}>{t.remove}</button>
      </span>
    ) },
  ]
  return (
    <>
      <Head title={t.title}><button type="button" className="primary" onClick={() => setEditing('new')}>{t.new}</button></Head>
      <div className="filter-row"><Field label={t.filter} type="search" value={filter} onChange={(v) => { setFilter(v); setPage(0) }} /></div>
      <Refusal error={error} />
      {data === undefined ? !error && <Loading /> : rows.length === 0 ? <Empty title={t.empty} />
        : <Table caption={t.caption} columns={columns} rows={rows.slice(page * size, (page + 1) * size)} rowKey={(u) => u.username} />}
      <Pager page={page} size={size} total={rows.length} onPage={setPage} />
      {editing && <Edit user={editing === 'new' ? undefined : editing} onClose={() => setEditing(undefined)} />}
      {removing && (
        <FormDialog title={t.confirm(removing)} action={t.remove} danger onClose={() => setRemoving(undefined)} onSubmit={() => deleteUser(removing)}>
          <p>{t.confirmHelp}</p>
        </FormDialog>
      )}
    </>
  )
}

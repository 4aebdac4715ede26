import { useEffect, useId, useRef, useState, type ReactNode } from 'react'
import { Unavailable } from '../api/http'
import { m } from '../messages'
import { Refusal } from './basics'

/** A dialog over the page. The browser keeps the focus in it, and closes it with Escape. */
export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ReactNode }) {
  const ref = useRef<HTMLDialogElement>(null)
  const id = useId()
  useEffect(() => {
    const dialog = ref.current
    if (dialog && !dialog.open) dialog.showModal()
    return () => dialog?.close()
  }, [])
  return (
    <dialog ref={ref} aria-labelledby={id} onCancel={(e) => { e.preventDefault(); onClose() }}>
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  )
}

/** A form in a dialog that closes when the server has accepted it. */
export function FormDialog(p: {
  title: string
  action: string
  danger?: boolean
  onClose: () => void
  onSubmit: () => Promise<unknown>
  children: ReactNode
}) {
  const [error, setError] = useState<unknown>()
  const [working, setWorking] = useState(false)
  const submit = async () => {
    setWorking(true)
    try {
      await p.onSubmit()
      p.onClose()
    } catch (e) {
      setError(e)
      setWorking(false)
    }
  }
  return (
    <Dialog title={p.title} onClose={p.onClose}>
      <form onSubmit={(e) => { e.preventDefault(); void submit() }}>
        {p.children}
        <Failure error={error} />
        <div className="actions">
          <button type="button" onClick={p.onClose}>{m.cancel}</button>
          <button type="submit" className={p.danger ? 'danger' : 'primary'} disabled={working}>{p.action}</button>
        </div>
      </form>
    </Dialog>
  )
}

/** Like Refusal, and it also shows that the API is unavailable: here the user waits for the answer. */
export function Failure({ error }: { error: unknown }) {
  if (!error) return null
  return <Refusal error={error instanceof Unavailable ? new Error(m.signIn.away) : error} />
}

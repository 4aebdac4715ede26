import { m } from '../messages'

/** Pages of a long list. */
export function Pager({ page, size, total, onPage }: { page: number; size: number; total: number; onPage: (page: number) => void }) {
  if (total <= size && page === 0) return null
  const from = page * size
  return (
    <nav className="pager" aria-label={m.page(from + 1, Math.min(total, from + size), total)}>
      <button type="button" disabled={page === 0} onClick={() => onPage(page - 1)}>{m.previous}</button>
      <span>{m.page(Math.min(from + 1, total), Math.min(total, from + size), total)}</span>
      <button type="button" disabled={from + size >= total} onClick={() => onPage(page + 1)}>{m.next}</button>
    </nav>
  )
}

import type { ReactNode } from 'react'

export interface Column<Row> {
  key: string
  head: ReactNode
  cell: (row: Row) => ReactNode
  /** The order of the server by this column. */
  order?: string
  number?: boolean
}

interface Props<Row> {
  caption: string
  columns: Column<Row>[]
  rows: Row[]
  rowKey: (row: Row) => string
  order?: string
  onOrder?: (order: string) => void
}

/**
 * A table that becomes a list of cards where it is narrow. The roles stand here because
 * style sheets that change how a table looks remove its roles.
 */
export function Table<Row>({ caption, columns, rows, rowKey, order = '', onOrder }: Props<Row>) {
  const [field, direction] = order.split(',')
  return (
    <table role="table" aria-label={caption} className="cards">
      <thead role="rowgroup">
        <tr role="row">
          {columns.map((c) => {
            const here = c.order !== undefined && c.order === field
            const descending = direction === 'DESC'
            return (
              <th key={c.key} role="columnheader" scope="col" className={c.number ? 'number' : undefined}
                {...(here ? { 'aria-sort': descending ? ('descending' as const) : ('ascending' as const) } : {})}>
                {c.order && onOrder ? (
                  <button type="button" className="sort" onClick={() => onOrder(`${c.order},${here && descending ? 'ASC' : 'DESC'}`)}>
                    {c.head} <span aria-hidden="true">{here ? (descending ? '↓' : '↑') : ''}</span>
                  </button>
                ) : c.head}
              </th>
            )
          })}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {rows.map((row) => (
          <tr key={rowKey(row)} role="row">
            {columns.map((c) => (
              <td key={c.key} role="cell" className={c.number ? 'number' : undefined} data-label={typeof c.head === 'string' ? c.head : ''} data-key={c.key}>
                <div>{c.cell(row)}</div>
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  )
}

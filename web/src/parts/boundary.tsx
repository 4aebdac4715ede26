import { Component, type ReactNode } from 'react'
import { m } from '../messages'
import { Empty } from './basics'

/** Keeps a fault of one page from the rest. */
export class Boundary extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false }

  static getDerivedStateFromError() {
    return { failed: true }
  }

  override render() {
    if (!this.state.failed) return this.props.children
    return (
      <>
        <Empty title={m.broken.title}>{m.broken.help}</Empty>
        <p className="center"><button type="button" onClick={() => location.reload()}>{m.broken.reload}</button></p>
      </>
    )
  }
}

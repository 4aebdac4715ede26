import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands'
import { yaml } from '@codemirror/lang-yaml'
import { bracketMatching, HighlightStyle, indentUnit, syntaxHighlighting } from '@codemirror/language'
import { lintGutter, setDiagnostics, type Diagnostic } from '@codemirror/lint'
import { highlightSelectionMatches, searchKeymap } from '@codemirror/search'
import { Compartment, EditorState } from '@codemirror/state'
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers } from '@codemirror/view'
import { tags } from '@lezer/highlight'
import { useEffect, useRef } from 'react'

export interface Mark {
  from: number
  to: number
  severity: 'error' | 'warning'
  message: string
}

interface Props {
  label: string
  value: string
  readOnly?: boolean
  marks?: Mark[]
  onChange?: (value: string) => void
  /** Moves the cursor there when the object changes. */
  jump?: { at: number } | undefined
}

/** The colors come from the style sheet of the page, so that they follow light and dark. */
const colors = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: 'var(--code-key)' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--code-text)' },
  { tag: [tags.number, tags.bool, tags.null, tags.keyword], color: 'var(--code-value)' },
  { tag: tags.comment, color: 'var(--code-comment)' },
  { tag: [tags.punctuation, tags.separator, tags.meta], color: 'var(--quiet)' },
])

/** The server puts the nonce of its policy there. */
const nonce = () => document.querySelector<HTMLMetaElement>('meta[name=csp-nonce]')?.content ?? ''

export default function Editor({ label, value, readOnly = false, marks, onChange, jump }: Props) {
  const place = useRef<HTMLDivElement>(null)
  const view = useRef<EditorView>(null)
  const changed = useRef(onChange)
  useEffect(() => {
    changed.current = onChange
  }, [onChange])
  useEffect(() => {
    const editable = new Compartment()
    const v = new EditorView({
      parent: place.current!,
      state: EditorState.create({
        doc: value,
        extensions: [
          EditorView.cspNonce.of(nonce()),
          lineNumbers(), history(), drawSelection(), bracketMatching(), highlightSelectionMatches(), indentUnit.of('  '),
          yaml(), syntaxHighlighting(colors), EditorView.lineWrapping,
          ...(readOnly ? [] : [highlightActiveLine(), lintGutter()]),
          keymap.of([...defaultKeymap, ...historyKeymap, ...searchKeymap, ...(readOnly ? [] : [indentWithTab])]),
          editable.of([EditorState.readOnly.of(readOnly), EditorView.contentAttributes.of({ 'aria-label': label, spellcheck: 'false', tabindex: '0' })]),
          EditorView.updateListener.of((u) => u.docChanged && changed.current?.(u.state.doc.toString())),
        ],
      }),
    })
    view.current = v
    return () => v.destroy()
    // The editor keeps its text; other texts are put into it below.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [readOnly, label])
  useEffect(() => {
    const v = view.current
    if (v && v.state.doc.toString() !== value) v.dispatch({ changes: { from: 0, to: v.state.doc.length, insert: value } })
  }, [value])
  useEffect(() => {
    const v = view.current
    if (!v || !marks) return
    const inside = (n: number) => Math.min(Math.max(0, n), v.state.doc.length)
    const list: Diagnostic[] = marks.map((d) => ({ ...d, from: inside(d.from), to: inside(d.to) }))
    v.dispatch(setDiagnostics(v.state, list))
  }, [marks])
  useEffect(() => {
    const v = view.current
    if (!v || !jump) return
    v.dispatch({ selection: { anchor: Math.min(jump.at, v.state.doc.length) }, scrollIntoView: true })
    v.focus()
  }, [jump])
  return <div ref={place} className="editor" />
}

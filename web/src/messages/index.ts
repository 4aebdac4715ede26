import { en, type Messages } from './en'

/** The texts of the page in the language of the reader. There is one language so far. */
export const m: Messages = en

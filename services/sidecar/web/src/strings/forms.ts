// One and many, as each language tells them apart.

/** `other` every language has; those that count otherwise than English have more, by the names of CLDR. */
export type Forms = { other: string } & Partial<Record<Exclude<Intl.LDMLPluralRule, "other">, string>>;

const rules = new Map<string, Intl.PluralRules>();

/** The form for a number; where a language has no word of its own for it, its `other`. */
export function formFor(forms: Forms, count: number, language: string): string {
  let rule = rules.get(language);
  if (rule === undefined) {
    rule = new Intl.PluralRules(language);
    rules.set(language, rule);
  }
  return forms[rule.select(count)] ?? forms.other;
}

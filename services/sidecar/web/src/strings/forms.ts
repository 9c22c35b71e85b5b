// One and many, as each language tells them apart.

export interface Forms {
  one: string;
  other: string;
}

const rules = new Map<string, Intl.PluralRules>();

/** The form for a number; a language's further forms are its `other`. */
export function formFor(forms: Forms, count: number, language: string): string {
  let rule = rules.get(language);
  if (rule === undefined) {
    rule = new Intl.PluralRules(language);
    rules.set(language, rule);
  }
  return rule.select(count) === "one" ? forms.one : forms.other;
}

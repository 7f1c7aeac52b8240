"""The words and codes by which servers and proxies name a failure: each says the same thing in its own way."""

import re

# Codes that only a filter that has judged the conversation sends. Letters and digits in lower case. 1301 is Zhipu's.
VERDICT_CODES = {
    "contentfilter", "contentfiltered", "contentpolicyviolation", "contentpolicyviolationerror", "contentblocked",
    "responsibleaipolicyviolation", "datainspectionfailed", "prohibitedcontent", "promptblocked", "blockedprompt",
    "safetyviolation", "guardrailintervened", "moderationblocked", "1301",
}  # fmt: skip
# Words that only a filter's verdict has, whatever else the message says. Cloudflare AI Gateway says them with status
# 424. xAI names the failed check beside the id of the API key, Kong the rule for prompts.
VERDICT_WORDS = re.compile(
    r"(prompt|response) blocked due to security configurations|prompt pattern is blocked"
    r"|content violates [^.]{0,40}(guideline|polic)|failed check: *safety|\bsafety_check_type_",
    re.IGNORECASE,
)
# Codes that also name the filter as a part that can fail. They are believed with a status that a filter uses.
FILTER_CODES = re.compile(
    r"content_?-?(filter|policy|moderation)|responsible_?ai|moderation|guardrail"
    r"|prohibited_?content|blocked_?(content|prompt|by)|safety_(violation|block|filter)|\bsensitive_?(content|word|input)"
    r"|^sensitive$|\bsafety\b|flagged|policy_violation|high_risk",
    re.IGNORECASE,
)
FILTER_WORDS = re.compile(
    r"content[ _-]?(filter|policy|management|moderation|safety)|responsible ai|moderation|moderated|guardrails?\b"
    r"|\bflagged\b|usage polic|safety (system|filter|polic|setting|reason|check|guideline|guard)"
    r"|(blocked|rejected|filtered|refused)[^.]{0,60}\b(safety|harm|unsafe|sensitive|inappropriate|high risk)"
    r"|(unsafe|harmful|inappropriate|sensitive|disallowed|prohibited) (content|prompt|input|text|material|request|word)"
    r"|content exists risk|violat\w* [^.]{0,60}(polic|guideline)|considered high risk"
    r"|prompt (pattern )?((was|is|has been) )?(blocked|filtered)"
    r"|contains? (sensitive|inappropriate|harmful|unsafe)|prompt blocked",
    re.IGNORECASE,
)
FILTER_STATUS = {400, 403, 422, 446, 451}
VERDICT_STATUS = {446, 451}  # Portkey's status for a guardrail, and a legal reason.
# A status that says that the request may pass later. Words about a filter then speak of the filter's own failure.
PASSING_STATUS = {404, 408, 409, 424, 425, 429, 499}
# A vendor that locks an account or an address uses a filter's words.
ABOUT_THE_ACCOUNT = re.compile(
    r"\b(account|organi[sz]ation|workspace|subscription|ip address|api key(?! id)|your access|ip)\b[^.\n]{0,60}"
    r"\b(flagged|suspended|blocked|banned|disabled|deactivated|terminated|restricted)",
    re.IGNORECASE,
)
ABOUT_THE_RIGHTS = re.compile(
    r"access|permission|allowed|authori[sz]|region|country|subscription|terms|firewall|\bip\b", re.IGNORECASE
)
# The failed part says that it failed. The second pattern has words that a verdict also uses.
MAY_PASS = re.compile(
    r"unavailable|time[ds]?[ _-]?out|temporar(y|ily)|per (second|minute|hour|day)\b|overload"
    r"|internal (server )?error",
    re.IGNORECASE,
)
PROVIDER_FAILED = re.compile(r"provider returned error|upstream", re.IGNORECASE)
OF_A_FAULT = re.compile(r"error|fail|unavailable|time_?d?_?out", re.IGNORECASE)  # codes
FAULT = re.compile(r"error\b|failed|failure|requests", re.IGNORECASE)
RATE = re.compile(
    r"rate[ _-]?limit|quota|per[ _-](second|minute|hour|day|month)\b|\b(tpm|rpm|tpd|rpd)\b|throttl|in[ _-]flight"
    r"|too many (concurrent |parallel |queued )?requests|(concurrent|queued|parallel) requests|request queue"
    r"|\b(daily|weekly|monthly|hourly)\b|for your plan|budget[^.\n]{0,40}exceeded|exceeded[^.\n]{0,40}budget",
    re.IGNORECASE,
)
# Limits that no pause of minutes lifts.
LASTING_RATE = re.compile(
    r"quota|per[ _-](day|month)\b|\b(tpd|rpd|daily|weekly|monthly)\b|for your plan|budget", re.IGNORECASE
)
TOO_LONG = re.compile(
    r"context[ _-]?(length|size|window|limit)|exceed_context|maximum context|context of the model|max_model_len"
    r"|max_seq_len|(prompt|input|request|message|sequence|text|body|payload|entity|content)s?\b[^.\n]{0,60}"
    r"too (long|large)|too (long|large)[^.\n]{0,40}\b(prompt|input|request|context|sequence)|string_above_max_length"
    r"|(input|prompt|sequence|total|token)s? (length|tokens|count)?[^.\n]{0,60}(exceed|(longer|greater|more) than)"
    r"|too many (input )?tokens|`inputs` tokens \+ `max_new_tokens` must be|maximum prompt length"
    r"|range of input length|超长"
    r"|exceeds? [^.\n]{0,40}\b(context|token limit|input limit|maximum (input|prompt|sequence) length)"
    r"|longer than the (maximum|model)|reduce the length|must have less than \d+ tokens",
    re.IGNORECASE,
)
TOO_LONG_STATUS = {400, 413, 422}
# A proxy also answers 413 to a body of too many bytes, which its settings can change.
ABOUT_LENGTH = re.compile(r"token|context|length|too long|超长", re.IGNORECASE)
ABOUT_A_SETTING = re.compile(r"max_(completion_)?tokens|(top_?|sample |number of )logprobs", re.IGNORECASE)
LOGIN_WORDS_OF_5XX = re.compile(
    r"no connected db|authentication error|(invalid|incorrect|no) (api|virtual)[ _-]?key"
    r"|invalid model name|model_not_found",
    re.IGNORECASE,
)
LOADING = re.compile(
    r"load(ing)? (the )?model|model (is )?(still )?(being )?load|starting|warming|initiali[sz]ing", re.IGNORECASE
)
UNPAID = re.compile(r"insufficient[_ ](quota|balance|credit|fund)|billing_hard_limit|out of credits", re.IGNORECASE)
FINISHED_BY_FILTER = re.compile(
    r"content[_-]?filter|guardrail_intervened|(image_)?safety$|prohibited_content|blocklist|spii$|refusal$|moderation$"
    r"|sensitive$|recitation$|error_toxic",
    re.IGNORECASE,
)
FINISHED_BY_FAULT = {"error", "abort", "aborted", "failed"}

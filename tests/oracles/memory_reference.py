"""Memory as plainly as it can be said: a list of texts for each user, nothing shared."""

from collections import defaultdict


class ReferenceMemory:
    def __init__(self):
        self._kept = defaultdict(list)  # user -> [(at, arrival, id, text, version)]
        self._arrivals = 0

    def append(self, user, items):
        for record_id, at, text in items:
            if record_id not in self.known(user):
                self._arrivals += 1
                self._kept[user].append((at, self._arrivals, record_id, text, "1"))
                self._kept[user].sort(key=lambda item: item[:2])

    def known(self, user):
        return {item[2] for item in self._kept[user]}

    def history(self, user):
        return [(item[2], item[3], item[4]) for item in self._kept[user]]

    def replace(self, user, record_id, version):
        self._kept[user] = [(*item[:4], version if item[2] == record_id else item[4]) for item in self._kept[user]]

    def forget(self, user, *, before=None, record_ids=None):
        self._kept[user] = [
            item
            for item in self._kept[user]
            if (before is not None and not item[0] < before) or (record_ids is not None and item[2] not in record_ids)
        ]

    def users(self):
        return {user for user, items in self._kept.items() if items}
